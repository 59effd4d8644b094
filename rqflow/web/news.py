"""Who hears what changes: tabs, and the one reader of the stream of events that tells them.

One thread a process reads that stream, whatever the number of tabs; it takes nothing from the recorders. A tab is told which runs and DAGs changed,
and fetches again the parts of its page that show them: at once when nothing was told for a while, otherwise twice a second at most, and seldomer the
more of a processor all of that takes. All tabs are told at the same time, so that what several show is made once (pieces.py). What is missed while
Redis is away, or a tab is suspended, is told as "everything", so a page that is behind never stays so.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis

from rqflow import clock, logs
from rqflow.broker.events import EventStream, Seen
from rqflow.deploy.lasting import Lasting
from rqflow.exceptions import RqflowError

logger = logging.getLogger(__name__)

#: Milliseconds that the reader waits for events, and seconds before it asks a Redis again that was away.
WAIT_MS, AGAIN = 1000, 2.0
#: Seconds from one telling to the next: at least, and at most.
PACE, SLOWEST = 0.5, 6.0
#: Which part of one processor this process may take for what tabs ask for, before they are told seldomer; how often it looks, in seconds.
SHARE, LOOK = 0.06, 0.1
#: Tabs that are told in one go, and the pause after it: so that others who ask something come in between.
AT_ONCE, GAP = 10, 0.02
#: Runs that a tab is told of by name; beyond that it is told that all may have changed.
MOST_NAMED = 200


#: An id of the stream of events as what can be compared, and that of no event.
EventId = tuple[int, int]
NOTHING: EventId = (0, 0)


def order(event_id: str) -> EventId:
    """Return an id as what can be compared; NOTHING for what is none."""
    first, _, second = event_id.partition("-")
    return (int(first), int(second)) if first.isascii() and first.isdigit() and second.isascii() and second.isdigit() else NOTHING


def upto_of(headers: Mapping[str, str]) -> EventId:
    """Return the newest event that was told to the tab which asks, and wants to show at least that; NOTHING: it wants all that there is now."""
    return order(headers.get("rqflow-upto", "")[:50])


@dataclass(slots=True)
class News:
    """What changed."""

    runs: set[str] = field(default_factory=set)
    dags: set[str] = field(default_factory=set)
    #: True: anything may have changed.
    is_all: bool = False
    #: Id of the newest event of it.
    upto: str = ""

    def __bool__(self) -> bool:
        """Tell whether anything did."""
        return self.is_all or bool(self.runs)

    def add(self, other: News) -> None:
        """Take in what changed after that."""
        self.runs |= other.runs
        self.dags |= other.dags
        self.is_all = self.is_all or other.is_all or len(self.runs) > MOST_NAMED
        self.upto = other.upto or self.upto

    def told(self) -> dict[str, Any]:
        """Return it as JSON for the tab."""
        return {"all": self.is_all, "runs": sorted(self.runs)[:MOST_NAMED], "dags": sorted(self.dags)[:MOST_NAMED], "upto": self.upto}


@dataclass(eq=False, slots=True)
class Tab:
    """A listening tab: what changed since it was told last. Touched in the event loop alone."""

    #: What it wants to hear of; both empty: all.
    runs: frozenset[str]
    dags: frozenset[str]
    #: DAGs that its person may see; None: all.
    visible: frozenset[str] | None = None
    #: Digest of the session that it listens by; empty: by something else.
    session: str = ""
    #: Id of the newest event that all of its page shows; empty: it does not say.
    since: str = ""
    #: What it will be told, and what it is to be told now.
    heard: News = field(default_factory=News)
    due: News = field(default_factory=News)
    #: Set when it is its turn to be told, or when all of it ends.
    is_due: asyncio.Event = field(default_factory=asyncio.Event)

    def topics(self) -> tuple[list[str], list[str]]:
        """Return what it wants to hear of, in order: those who want the same are told together."""
        return sorted(self.runs), sorted(self.dags)

    def hear(self, seen: Seen) -> None:
        """Take note of what happened."""
        runs = {key for key, dag_id in seen.runs.items() if (self.visible is None or dag_id in self.visible)
                and (not (self.runs or self.dags) or key in self.runs or dag_id in self.dags)}
        if runs:
            self.heard.add(News(runs=runs, dags={seen.runs[key] for key in runs}, upto=seen.upto))

    def hear_all(self) -> None:
        """Take note that anything may have changed."""
        self.heard.is_all = True

    def catch_up(self, upto: str) -> None:
        """Take note that anything may have changed, if anything happened after its page was made."""
        if self.since and order(self.since) < order(upto):
            self.hear_all()

    def settle(self) -> None:
        """Let what it has heard be what it is to be told, together with what it was not told yet."""
        self.due.add(self.heard)
        self.heard = News()

    def take(self) -> News:
        """Return what it is to be told now, and begin anew."""
        self.is_due.clear()
        taken, self.due = self.due, News()
        return taken


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
        self._teller: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        #: Id of the newest event that this process knows of: whatever is read from now on shows at least that.
        self.upto = ""

    @property
    def sessions(self) -> frozenset[str]:
        """The digests of the sessions by which tabs listen."""
        return frozenset(tab.session for tab in self._tabs if tab.session)

    @property
    def tabs(self) -> int:
        """How many tabs listen."""
        return len(self._tabs)

    def enter(self, tab: Tab) -> None:
        """Tell `tab` what changes from now on, and that something did since its page was made. Called in the event loop."""
        if self._loop is not (loop := asyncio.get_running_loop()):
            self._loop, self._teller, self._news = loop, None, asyncio.Event()
        self._tabs.add(tab)
        if self._reader is None or not self._reader.is_alive():
            self._stop.clear()
            self._reader = threading.Thread(target=self._read, name="reads the events for pages", daemon=True)
            self._reader.start()
        if self._teller is None or self._teller.done():
            self._teller = loop.create_task(self._tell_by_turns())
        if self._is_reading:
            tab.catch_up(self.upto)
            self._news.set()

    def leave(self, tab: Tab) -> None:
        """Tell `tab` no more."""
        self._tabs.discard(tab)
        if not self._tabs:
            self._news.set()

    def close(self) -> None:
        """End, soon; tabs are told that it is over."""
        self._stop.set()
        self._call(self._wake, None)

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
                    self._call(self._learn, fresh)
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
        self._call(self._spread, seen)

    def _call(self, function: Callable[[Any], None], given: Any) -> None:
        """Call a function in the event loop, soon."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(function, given)

    def _learn(self, upto: str) -> None:
        self.upto = upto
        for tab in self._tabs:
            tab.catch_up(upto)
        self._news.set()

    def _spread(self, seen: Seen | None) -> None:
        self.upto = seen.upto if seen else self.upto
        for tab in self._tabs:
            if seen is None:
                tab.hear_all()
            else:
                tab.hear(seen)
        self._news.set()

    def _wake(self, _: None) -> None:
        """Let all who wait see that it is over."""
        self._news.set()
        for tab in self._tabs:
            tab.is_due.set()

    async def _tell_by_turns(self) -> None:
        """Tell all tabs what they have not been told, again and again, while there are any."""
        while self._tabs and not self.is_closing:
            await self._news.wait()
            self._news.clear()
            began, used = clock.monotonic(), clock.cpu_seconds()
            due = sorted((tab for tab in self._tabs if tab.heard or tab.due), key=Tab.topics)
            # All at the same moment: who wants the same asks for the same then.
            for tab in due:
                tab.settle()
            for number, tab in enumerate(due, start=1):
                tab.is_due.set()
                if number % AT_ONCE == 0:
                    await asyncio.sleep(GAP)
            await asyncio.sleep(PACE)
            while not self.is_closing and clock.monotonic() - began < min((clock.cpu_seconds() - used) / SHARE, SLOWEST):
                await asyncio.sleep(LOOK)
