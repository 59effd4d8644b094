"""What people were told, or should have been: messages with their state, and sending them again; and what missed its sla."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from rqflow.api.notices import ListNotices, OneNotice, RetryNotices, get_notice, list_notices, retry_notices
from rqflow.api.operation import perform
from rqflow.api.slas import ListMisses, list_misses
from rqflow.store.notices import STATES
from rqflow.web.answers import done
from rqflow.web.deps import Filled, TheHub
from rqflow.web.moments import given_moment
from rqflow.web.pages.workers import counted
from rqflow.web.rendering import page, query

router = APIRouter(include_in_schema=False)
#: Rows on a page.
MOST = 50
#: States of messages that can be tried again.
AGAIN = ("refused", "given_up", "not_sent")


@router.get("/slas")
def slas_page(request: Request, hub: TheHub, dag_id: str = "", run: str = "", since: str = "", offset: str = "0") -> HTMLResponse:
    """Show the tasks that did not end in their sla."""
    place = int(offset) if offset.isascii() and offset.isdigit() and len(offset) < 9 else 0
    asked = {"dag_id": dag_id.strip(), "run": run.strip(), "since": since.strip()}
    if asked["dag_id"]:
        hub.dag(asked["dag_id"])
    found = perform(hub, list_misses, ListMisses(dag_id=asked["dag_id"] or None, run=asked["run"] or None, since=given_moment(since, "since"),
                                                 limit=MOST, offset=place))
    return page(request, "slas.html", misses=found.items, asked=asked, first=place + 1,
                newer=f"/slas{query(**asked, offset=max(0, place - MOST) or '')}" if place else None,
                older=f"/slas{query(**asked, offset=found.next)}" if found.next else None)


@router.get("/notices")
def notices_page(request: Request, hub: TheHub, dag_id: str = "", state: str = "", since: str = "", after: str = "") -> HTMLResponse:
    """Show messages, the newest first; `after` goes on where a page ended."""
    asked = {"dag_id": dag_id.strip(), "state": state, "since": since.strip()}
    found = perform(hub, list_notices, ListNotices(dag_id=asked["dag_id"] or None, state=[state] if state else [], since=given_moment(since, "since"),
                                                   limit=MOST, after=after or None))
    return page(request, "notices.html", messages=found.items, dag_id=asked["dag_id"], state=state, since=asked["since"], states=STATES, again=AGAIN,
                has_smtp=bool(hub.settings.smtp.smtp_host), first=f"/notices{query(**asked)}" if after else "",
                older=f"/notices{query(**asked, after=found.next)}" if found.next else "")


@router.get("/notices/{message}")
def notice_page(request: Request, hub: TheHub, message: str) -> HTMLResponse:
    """Show a message, and what it says."""
    return page(request, "notice.html", message=perform(hub, get_notice, OneNotice(message=message)), again=AGAIN)


@router.post("/notices/retry")
def retry(request: Request, hub: TheHub, filled: Filled) -> Response:
    """Let a message, or with every=1 all that were not sent, be tried again."""
    named = filled.get("message", "")
    found = perform(hub, retry_notices, RetryNotices(messages=[named] if named else [], every=filled.get("every") == "1"))
    return done(request, "/notices", f"{counted(found.count, 'message')} will be tried again.")
