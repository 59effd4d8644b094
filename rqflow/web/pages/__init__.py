"""The pages: a module each, with its routes."""

from __future__ import annotations

from rqflow.web.pages import (
    dag,
    dags,
    home,
    logs,
    oidc,
    pools,
    runs,
    session,
    trigger,
    workers,
)

#: Modules with a router, in the order in which paths are looked up.
PAGES = (
    dag,
    dags,
    home,
    logs,
    oidc,
    pools,
    runs,
    session,
    trigger,
    workers,
)
