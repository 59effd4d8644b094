"""Finding pages, DAGs, tasks and runs: a page, and what the field on top of each page suggests."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from rqflow.actions.sights.search import MOST
from rqflow.api.operation import perform
from rqflow.api.search import Search, search
from rqflow.web.deps import TheHub
from rqflow.web.rendering import is_fragment, live_page

router = APIRouter(include_in_schema=False)
#: Answers of each kind on the page.
MANY = 50


@router.get("/search")
def search_page(request: Request, hub: TheHub, q: str = "") -> HTMLResponse:
    """Show what was found: a few of each kind below the field, more on the page."""
    most = MOST if is_fragment(request) else MANY
    return live_page(request, "search.html", "_search.html", hits=perform(hub, search, Search(q=q, limit=most)), most=most, q=q, away=hub.away)
