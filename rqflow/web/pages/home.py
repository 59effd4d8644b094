"""The first page."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from rqflow.web.deps import TheHub
from rqflow.web.rendering import page

router = APIRouter(include_in_schema=False)


@router.get("/")
def home(request: Request, hub: TheHub) -> HTMLResponse:
    """Show where things are."""
    return page(request, "home.html", away=hub.away)
