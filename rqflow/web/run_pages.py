"""Pages of large runs, made once for all that ask for them in the same moment: each tab gets its head, its list and its graph by itself."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from fastapi import FastAPI

from rqflow import clock
from rqflow.actions.sights.run_view import RunPage, run_page
from rqflow.api.hub import Hub
from rqflow.web.news import NOTHING, EventId
from rqflow.web.pieces import Pieces
from rqflow.web.recent import Moment, holds, moment

#: Seconds for which a page counts while Redis tells of nothing new, the tasks from which on it is worth while, and pages that are kept.
LASTS, WORTH, KEPT = 1.0, 300, 16


@dataclass(slots=True)
class _Kept:
    lock: threading.Lock = field(default_factory=threading.Lock)
    page: RunPage | None = None
    #: When it began to be made.
    then: Moment | None = None


class RunPages:
    """The pages of runs that this process made last. For all threads."""

    def __init__(self, pieces: Pieces) -> None:
        """Keep none."""
        self._pieces = pieces
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}

    def of(self, hub: Hub, run_key: str, upto: EventId = NOTHING) -> RunPage:
        """Return the page of a run as it is now, or, for a tab that was told of the event `upto`, as it was soon after that.

        Raises RunNotFound.
        """
        with self._lock:
            kept = self._kept.pop(run_key, None) or _Kept()
            self._kept[run_key] = kept
            while len(self._kept) > KEPT:
                self._kept.pop(next(iter(self._kept)))
        with kept.lock:
            if kept.page is None or not self._holds(hub, kept, upto):
                then = moment(self._pieces)
                kept.page, kept.then = run_page(hub.live, hub.engine, run_key), then
            return kept.page

    def forget(self, run_key: str) -> None:
        """Make the page of a run anew: somebody changed what it shows."""
        with self._lock:
            self._kept.pop(run_key, None)

    def _holds(self, hub: Hub, kept: _Kept, upto: EventId) -> bool:
        page, then = kept.page, kept.then
        if page is None or then is None:
            return False
        if holds(self._pieces, then, upto):
            return True
        if len(page.tasks) < WORTH or clock.monotonic() - then.at > LASTS:
            return False
        status = hub.live.run_status(page.run.run_key)
        return (status.last_event if status else "") == page.last_event


def run_pages_of(app: FastAPI) -> RunPages:
    """Return those of an application."""
    if not hasattr(app.state, "run_pages"):
        app.state.run_pages = RunPages(app.state.parts.pieces)
    found: RunPages = app.state.run_pages
    return found
