"""Who hears what changes: tabs, and the one reader of the stream of events that tells them.

One thread a process reads that stream, whatever the number of tabs; it takes nothing from the recorders. A tab is told which runs and DAGs changed,
twice a second at most, and fetches again the parts of its page that show them. What is missed while Redis is away, or a tab is suspended, is told as
"everything", so a page that is behind never stays so.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass, field
from typing import Any

import redis

from rqflow import logs
from rqflow.broker.events import EventStream, Seen
from rqflow.deploy.lasting import Lasting
from rqflow.exceptions import RqflowError

logger = logging.getLogger(__name__)

#: Milliseconds that the reader waits for events, and seconds before it asks a Redis again that was away.
WAIT_MS, AGAIN = 1000, 2.0
#: Runs that a tab is told of by name; beyond that it is told that all may have changed.
MOST_NAMED = 200


@dataclass(eq=False, slots=True)
class Tab:
    """A listening tab: what changed since it was told last. Touched in the event loop alone."""

    #: What it wants to hear of; both empty: all.
    runs: frozenset[str]
    dags: frozenset[str]
    #: DAGs that its person may see; None: all.
    visible: frozenset[str] | None = None
    changed_runs: set[str] = field(default_factory=set)
    changed_dags: set[str] = field(default_factory=set)
    is_all: bool = False
    upto: str = ""
    has_news: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, seen: Seen) -> None:
        """Take note of what happened."""
        runs = {key for key, dag_id in seen.runs.items() if (self.visible is None or dag_id in self.visible)
                and (not (self.runs or self.dags) or key in self.runs or dag_id in self.dags)}
        if runs:
            self.changed_runs |= runs
            self.changed_dags |= {seen.runs[key] for key in runs}
            self.is_all = self.is_all or len(self.changed_runs) > MOST_NAMED
            self.upto = seen.upto
            self.has_news.set()

    def hear_all(self) -> None:
        """Take note that anything may have changed."""
        self.is_all = True
        self.has_news.set()

    def take(self) -> dict[str, Any]:
        """Return what is to be told, and begin anew."""
        told = {"all": self.is_all, "runs": sorted(self.changed_runs)[:MOST_NAMED], "dags": sorted(self.changed_dags)[:MOST_NAMED], "upto": self.upto}
        self.changed_runs, self.changed_dags, self.is_all = set(), set(), False
        self.has_news.clear()
        return told


class Newsroom:
    """Reads the stream of events for all tabs of this process, while there are any."""

    def __init__(self, lasting: Lasting) -> None:
        """Read nothing before there is a tab."""
        self._lasting = lasting
        self._tabs: set[Tab] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reader: threading.Thread | None = None
        self._stop = threading.Event()
        self._is_reading = False

    @property
    def tabs(self) -> int:
        """How many tabs listen."""
        return len(self._tabs)

    def enter(self, tab: Tab) -> None:
        """Tell `tab` what changes from now on. Called in the event loop."""
        self._loop = asyncio.get_running_loop()
        self._tabs.add(tab)
        if self._reader is None or not self._reader.is_alive():
            self._stop.clear()
            self._reader = threading.Thread(target=self._read, name="reads the events for pages", daemon=True)
            self._reader.start()

    def leave(self, tab: Tab) -> None:
        """Tell `tab` no more."""
        self._tabs.discard(tab)

    def close(self) -> None:
        """End, soon; tabs are told that it is over."""
        self._stop.set()

    @property
    def is_reading(self) -> bool:
        """Whether it reads, so that whatever happens from now on is told."""
        return self._is_reading

    @property
    def is_closing(self) -> bool:
        """Whether it ends."""
        return self._stop.is_set()

    def _read(self) -> None:
        """Read until there has been nobody for a while; after a Redis that was away go on from its newest event, saying that all may have changed."""
        since, idle = "", 0
        while not self._stop.is_set() and idle < 30:
            try:
                with self._lasting.broker() as broker:
                    events = EventStream(broker.connection)
                    fresh = events.newest()
                    if since and fresh != since:
                        self._tell(None)
                    since, self._is_reading = fresh, True
                    while not self._stop.is_set() and idle < 30:
                        seen = events.follow(since, block_ms=WAIT_MS)
                        since = seen.upto or since
                        if seen.runs:
                            self._tell(seen)
                        idle = 0 if self._tabs else idle + 1
            except (RqflowError, redis.exceptions.RedisError) as error:
                logger.debug("pages are told nothing for now: %s", error, extra=logs.context("news_away"))
                self._stop.wait(AGAIN)
                since = since or "0-0"
                idle = 0 if self._tabs else idle + 1

    def _tell(self, seen: Seen | None) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._spread, seen)

    def _spread(self, seen: Seen | None) -> None:
        for tab in self._tabs:
            if seen is None:
                tab.hear_all()
            else:
                tab.hear(seen)
