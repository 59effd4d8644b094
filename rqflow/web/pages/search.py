"""Finding pages, DAGs, tasks and runs: a page, and what the field on top of each page suggests."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from rqflow.api.operation import perform
from rqflow.api.search import Search, search
from rqflow.web.deps import TheHub
from rqflow.web.rendering import live_page

router = APIRouter(include_in_schema=False)


@router.get("/search")
def search_page(request: Request, hub: TheHub, q: str = "") -> HTMLResponse:
    """Show what was found."""
    return live_page(request, "search.html", "_search.html", hits=perform(hub, search, Search(q=q)), q=q, away=hub.away)
