"""A log as it grows, as server-sent events (HTML standard, section 9.2) for one tab. Little of it is in memory at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool

from rqflow import clock
from rqflow.actions.logview.ending import ending
from rqflow.actions.logview.following import Follower
from rqflow.actions.logview.view import Place
from rqflow.exceptions import ServiceUnreachable
from rqflow.recorder.archive import PATIENCE
from rqflow.web.news import Newsroom
from rqflow.web.rendering import environment

#: Seconds between two looks at the file: while it grows, and when it is quiet; the most between two questions whether more may come.
OFTEN, SELDOM, ASK = 0.2, 1.0, 5.0
#: Seconds between two things that a tab is told.
BREATH = 0.25
#: Seconds between two signs of life; those after which the browser has to come again, which shows whether it may still see this.
SIGN_OF_LIFE, LONGEST = 15.0, 900.0


async def followed(place: Place, anew: Callable[[], Place], start: int, url: str, newsroom: Newsroom) -> AsyncIterator[bytes]:
    """Give what comes to a log from byte `start` on, where a line begins, until its try has ended and all of it is here.

    Events: `grown` (lines, and how the line without an end stands), and at last `end`. `anew` asks how the try stands.
    """
    follower = Follower(place.path, start)
    began = spoke = changed = clock.monotonic()
    asked, pause = 0.0, OFTEN
    yield b"retry: 1000\n\n"
    while not newsroom.is_closing and clock.monotonic() - began < LONGEST:
        try:
            told = await run_in_threadpool(_next, follower, url) if follower.has_more() else None
        except FileNotFoundError:
            yield message("end", {"ending": "", "held": "The log was removed."})
            return
        now = clock.monotonic()
        if told is not None:
            spoke = changed = now
            pause = OFTEN
            yield told[0]
            # Who is far behind goes on at once.
            await asyncio.sleep(0 if told[1] else BREATH)
            continue
        is_whole = place.is_whole()
        if now - asked > (SELDOM if is_whole else ASK):
            asked = now
            place = await run_in_threadpool(_as_it_is, place, anew)
            if not place.may_grow and (is_whole or now - changed > PATIENCE):
                # What came between the last look and the answer.
                while (told := await run_in_threadpool(_next, follower, url)) is not None:
                    yield told[0]
                yield message("end", {"ending": ending(place.one) if place.one else "", "held": "" if is_whole else _REST})
                return
        if now - spoke > SIGN_OF_LIFE:
            spoke = now
            yield b": alive\n\n"
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, SELDOM)


_REST = "The end of the log has not come from the machine that ran it. It comes by itself when that machine is heard of again."


def message(event: str, data: Any, event_id: str = "") -> bytes:
    """Return a server-sent event with JSON."""
    return (f"id: {event_id}\n" if event_id else "").encode() + f"event: {event}\ndata: {json.dumps(data)}\n\n".encode()


def _next(follower: Follower, url: str) -> tuple[bytes, bool] | None:
    """Return what a tab is told next, and whether there is more already; None when nothing has come. Raises FileNotFoundError."""
    grown = follower.step()
    if grown is None:
        return None
    lines = environment().get_template("_log_lines.html")
    data = {"upto": grown.upto, "passed_over": grown.passed_over,
            "lines": lines.render(lines=grown.lines, first=None, url=url) if grown.lines else "",
            "open": lines.render(lines=[grown.open], first=None, url=url) if grown.open else ""}
    return message("grown", data, str(grown.upto)), grown.is_part


def _as_it_is(place: Place, anew: Callable[[], Place]) -> Place:
    """Return how the try stands now; as it stood, while nobody can be asked."""
    try:
        return anew()
    except ServiceUnreachable:
        return place
