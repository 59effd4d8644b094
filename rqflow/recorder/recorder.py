"""The recorder: takes events off the stream, writes them into the history, and acknowledges them after the commit.

Any number of recorders may run at the same time, in the hub and in workers that have a database URL: they share the events, and one
takes over what another was given and did not acknowledge. On SQLite, which has one writer at a time, only the leading hub records.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from datetime import timedelta

import redis

from rqflow import clock, logs
from rqflow.broker.events import Entry, EventStream
from rqflow.exceptions import Conflict, StoreError
from rqflow.recorder.apply import apply, keep
from rqflow.recorder.loop import gathering, keep_running
from rqflow.recorder.reading import Event
from rqflow.store import schema
from rqflow.store.engine import Engine, open_engine, run_in_transaction

logger = logging.getLogger(__name__)

#: Stream entries that are taken at once, and events that are written in one transaction.
ENTRIES, EVENTS = 200, 500
#: Seconds for which events are gathered after a commit: each wake-up beside busy processors costs as much as a hundred events.
GATHER_SECONDS = 0.5
#: Seconds between two trims of the stream.
TRIM_SECONDS = 1.0


def open_recorder(connection: redis.Redis, database_url: str, consumer: str) -> Recorder:
    """Return the recorder of a worker that can reach the database, on a Redis connection of its own; raises ConfigError for a bad URL."""
    return Recorder(EventStream(connection), open_engine(database_url), consumer)


class Recorder:
    """One consumer of the event stream, under a name that no other process uses."""

    def __init__(self, stream: EventStream, engine: Engine, consumer: str, *, take_over_after: timedelta = timedelta(seconds=15)) -> None:
        """Record from `stream` into `engine`; what another consumer holds for longer than `take_over_after` is taken over."""
        self.stream = stream
        self.engine = engine
        self.consumer = consumer
        #: Events written since the start, and entries taken over from others: for metrics.
        self.recorded = 0
        self.taken_over = 0
        self._idle_ms = int(take_over_after / timedelta(milliseconds=1))
        self._look_every = take_over_after.total_seconds() / 3
        self._next_look = 0.0
        self._next_trim = 0.0
        self._untrimmed = True
        # After a start under the same name, and after a failure, entries are ours that the stream does not give again by itself, and
        # the database may not be ready: then nothing more is taken, so that others can have it.
        self._behind = True

    def run(self, stop: threading.Event) -> None:
        """Record until `stop` is set; what is not committed by then stays in the stream."""
        keep_running(gathering(self.step, stop, pause=GATHER_SECONDS, enough=EVENTS), stop, name="recorder")

    def step(self, block_ms: int = 1000) -> int:
        """Record what there is, waiting up to `block_ms` for it; return the number of events.

        Raises StoreError or Conflict when the database cannot be used now: nothing is lost, the next step begins with the same events.
        """
        if self._behind:
            schema.check(self.engine)
        was_behind, self._behind = self._behind, True
        entries, is_behind = self._take(was_behind, block_ms)
        events = [event for _, found in entries for event in found]
        for at in range(0, len(events), EVENTS):
            self._record(events[at:at + EVENTS])
        self.stream.acknowledge([entry_id for entry_id, _ in entries], recorded=_of_machines(events))
        self._behind = is_behind
        self._trim(bool(entries))
        return len(events)

    def _take(self, is_behind: bool, block_ms: int) -> tuple[list[Entry], bool]:
        """Return our own leftovers, else those of a recorder that died, else what is new; and whether we may have more leftovers."""
        leftovers = self.stream.pending(self.consumer, ENTRIES) if is_behind else []
        if leftovers:
            return leftovers, True
        now = clock.monotonic()
        if now >= self._next_look:
            entries = self.stream.take_over(self.consumer, self._idle_ms, ENTRIES)
            if entries:
                self.taken_over += len(entries)
                logger.info("%d entries of another recorder taken over", len(entries), extra=logs.context("events_taken_over", count=len(entries)))
                return entries, False
            self._next_look = now + self._look_every
        return self.stream.read(self.consumer, ENTRIES, block_ms), False

    def _record(self, events: Sequence[Event]) -> None:
        """Write events in one transaction. If one of them upsets the database, that one alone is kept aside, as evidence."""
        try:
            run_in_transaction(self.engine, lambda connection: apply(connection, events))
        except (StoreError, Conflict):
            raise
        except Exception as error:
            if len(events) > 1:
                half = len(events) // 2
                self._record(events[:half])
                self._record(events[half:])
                return
            logger.exception("an event upsets the database", extra=logs.context("event_refused"))
            problem = f"{type(error).__name__}: {error}"
            run_in_transaction(self.engine, lambda connection: keep(connection, events[0], problem))
        self.recorded += len(events)

    def _trim(self, acknowledged: bool) -> None:
        """Let the stream forget what is recorded, not too often, and not when nothing has been since."""
        self._untrimmed = self._untrimmed or acknowledged
        now = clock.monotonic()
        if self._untrimmed and now >= self._next_trim:
            self.stream.trim()
            self._next_trim, self._untrimmed = now + TRIM_SECONDS, False


def _of_machines(events: Sequence[Event]) -> dict[str, list[str]]:
    """Return {machine: executions} of the ends in `events` whose workers keep them until they are recorded."""
    found: dict[str, list[str]] = {}
    for event in events:
        if isinstance(event, dict) and event.get("machine") and event.get("execution"):
            found.setdefault(str(event["machine"]), []).append(str(event["execution"]))
    return found
