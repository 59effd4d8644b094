"""What people did, for admins."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from rqflow.api.audit import ListDeeds, list_deeds
from rqflow.api.operation import perform
from rqflow.web.deps import TheHub
from rqflow.web.moments import given_moment
from rqflow.web.rendering import page, query

router = APIRouter(include_in_schema=False)
#: Deeds on a page.
MOST = 50


@router.get("/audit")
def audit_page(request: Request, hub: TheHub, who: str = "", event: str = "", dag_id: str = "", since: str = "", until: str = "",
               after: str = "") -> HTMLResponse:
    """Show deeds, the last one first; `after` goes on where a page ended."""
    asked = {"who": who.strip(), "event": event.strip().replace(" ", "_"), "dag_id": dag_id.strip(), "since": since.strip(), "until": until.strip()}
    found = perform(hub, list_deeds, ListDeeds(
        who=asked["who"] or None, event=asked["event"] or None, dag_id=asked["dag_id"] or None, since=given_moment(since, "since"),
        until=given_moment(until, "until"), limit=MOST, after=after or None))
    return page(request, "audit.html", deeds=found.items, asked=asked, is_filtered=any(asked.values()),
                first=f"/audit{query(**asked)}" if after else "", older=f"/audit{query(**asked, after=found.next)}" if found.next else "")
