"""The stream of server-sent events of a tab (HTML standard, section 9.2): names of what changed, when it is its turn (news.py)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse

from rqflow import clock
from rqflow.security import bearer
from rqflow.web import signin
from rqflow.web.deps import TheHub, ThePart
from rqflow.web.news import News, Newsroom, Tab

router = APIRouter(include_in_schema=False)
#: Seconds between two signs of life.
SIGN_OF_LIFE = 15.0
#: Seconds after which a stream ends, and its tab asks for another one: whose session has ended meanwhile gets none.
LONGEST = 300.0


def message(event: str, data: Any, event_id: str = "") -> bytes:
    """Return a server-sent event with JSON."""
    named = f"id: {event_id}\n" if event_id else ""
    return f"{named}event: {event}\ndata: {json.dumps(data)}\n\n".encode()


def _all_changed(upto: str) -> bytes:
    return message("changed", News(is_all=True, upto=upto).told(), upto)


async def told(newsroom: Newsroom, tab: Tab, is_behind: bool) -> AsyncIterator[bytes]:
    """Give what a tab is told; at its beginning, when it comes back after a break, that all may have changed."""
    newsroom.enter(tab)
    try:
        yield b"retry: 2000\n\n" + (_all_changed(newsroom.upto) if is_behind else b": welcome\n\n")
        began = clock.monotonic()
        while not newsroom.is_closing and (left := LONGEST - (clock.monotonic() - began)) > 0:
            try:
                async with asyncio.timeout(min(SIGN_OF_LIFE, left)):
                    await tab.is_due.wait()
            except TimeoutError:
                yield b": alive\n\n"
                continue
            if news := tab.take():
                yield message("changed", news.told(), news.upto)
    finally:
        newsroom.leave(tab)


def _names(given: Iterable[str]) -> frozenset[str]:
    return frozenset(name for one in given for name in one.split(",") if name)


def visible_of(hub: TheHub) -> frozenset[str] | None:
    """Return the DAGs that who asks may see; None: all. In a thread of its own, for it asks the database."""
    return hub.visible_dag_ids()


Visible = Annotated[frozenset[str] | None, Depends(visible_of)]


@router.get("/events")
async def events(request: Request, parts: ThePart, visible: Visible, run: Annotated[list[str], Query()] = [],  # noqa: B006 - FastAPI copies it
                 dag: Annotated[list[str], Query()] = [],  # noqa: B006 - as above
                 since: Annotated[str, Query(max_length=50)] = "") -> StreamingResponse:
    """Tell a page what changes: `run` and `dag` narrow it down to some; `since` is the newest event that all of the page shows."""
    secret = signin.secret_of(request)
    tab = Tab(_names(run), _names(dag), visible, bearer.digest(secret) if secret else "", since)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(told(parts.newsroom, tab, "last-event-id" in request.headers), media_type="text/event-stream", headers=headers)
