"""The pages: a module each, with its routes."""

from __future__ import annotations

from rqflow.web.pages import home, oidc, session, trigger

#: Modules with a router, in the order in which paths are looked up.
PAGES = (home, oidc, session, trigger)
