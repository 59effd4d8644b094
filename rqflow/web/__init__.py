"""The web server: the page, the REST API, and what those ask who want to know whether rqflow lives and what it does."""
from __future__ import annotations

from rqflow.web import slashes

# Before any route is made.
slashes.allow()
