"""The pages: a module each, with its routes."""

from __future__ import annotations

from rqflow.web.pages import (
    dags,
    home,
    logs,
    oidc,
    pools,
    session,
    trigger,
    workers,
)

#: Modules with a router, in the order in which paths are looked up.
PAGES = (
    dags,
    home,
    logs,
    oidc,
    pools,
    session,
    trigger,
    workers,
)
