"""What has ended, counted: each look adds what happened since the one before, so that nothing is asked twice and nothing falls when history goes.

A count begins with the last day, whatever process is asked; when it is another process it begins again, which those who read counters know.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rqflow import clock
from rqflow.states import TERMINAL_RUN_STATES, TERMINAL_STATES, RunState, TaskState
from rqflow.store import events, figures
from rqflow.store.engine import Connection
from rqflow.store.figures import Happening

#: How far back a count begins; how many changes one look takes in: what is beyond waits for the next.
BEGINS, MOST = timedelta(days=1), 20_000
#: Queued tasks whose start is waited for.
MOST_WAITING = 100_000
#: Upper bounds of the classes of waiting times, in seconds.
WAITS = (0.1, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
_ENDS = {state.value for state in TERMINAL_STATES}
_RUN_ENDS = {state.value for state in TERMINAL_RUN_STATES}


@dataclass
class Spread:
    """How many, and how long in all, in seconds."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one more."""
        self.count += 1
        self.seconds += max(seconds, 0.0)


@dataclass
class Waits(Spread):
    """The same with how many took no longer than each of WAITS."""

    within: list[int] = field(default_factory=lambda: [0] * len(WAITS))

    def add(self, seconds: float) -> None:
        """Count one more."""
        super().add(seconds)
        for place, bound in enumerate(WAITS):
            self.within[place] += seconds <= bound


@dataclass
class Tally:
    """The counts of one process. Not for several threads at a time."""

    by_task: bool = False
    runs: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    run_seconds: defaultdict[tuple[str, str], Spread] = field(default_factory=lambda: defaultdict(Spread))
    schedule_delays: defaultdict[str, Spread] = field(default_factory=lambda: defaultdict(Spread))
    tasks: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    task_seconds: defaultdict[tuple[str, str], Spread] = field(default_factory=lambda: defaultdict(Spread))
    max_rss: dict[tuple[str, str], int] = field(default_factory=dict)
    retries: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    queue_waits: defaultdict[str, Waits] = field(default_factory=lambda: defaultdict(Waits))
    log_bytes: int = 0
    messages: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: True: the last look left some for the next.
    is_behind: bool = False
    _upto: int | None = None
    _messages_upto: datetime | None = None
    _queued: dict[tuple[str, str, int | None], int] = field(default_factory=dict)

    def look(self, connection: Connection, recorded_upto: datetime) -> None:
        """Take in what happened before `recorded_upto`, the moment up to which the history has everything. Raises the database's errors."""
        upto = clock.to_micros(recorded_upto) - 1
        if self._upto is None:
            self._upto = upto - clock.to_micros(BEGINS + datetime.fromtimestamp(0, recorded_upto.tzinfo))
            self._messages_upto = recorded_upto - BEGINS
        most, self.is_behind = MOST, False
        while len(found := list(figures.happened(connection, self._upto, upto, most))) == most:
            # Those of one microsecond are taken in together, however many they are.
            if found[0].seq < found[-1].seq:
                upto, self.is_behind = found[-1].seq - 1, True
                found = [one for one in found if one.seq <= upto]
                break
            most *= 2
        self.take(found)
        self._upto = max(self._upto, upto)
        assert self._messages_upto is not None
        self.messages.update((recipient.partition(":")[0], "sent" if sent else "failed")
                             for recipient, sent in figures.messages_ended(connection, self._messages_upto, recorded_upto))
        self._messages_upto = max(self._messages_upto, recorded_upto)

    def take(self, found: Iterable[Happening]) -> None:
        """Count these, the oldest first."""
        for one in found:
            if one.kind == events.RUN:
                self._take_run(one)
            else:
                self._take_task(one)

    def _take_run(self, one: Happening) -> None:
        if one.event in _RUN_ENDS:
            self.runs[one.dag_id, one.event, one.run_type or "unknown"] += 1
            if one.run_started_at and one.run_ended_at:
                self.run_seconds[one.dag_id, one.event].add((one.run_ended_at - one.run_started_at).total_seconds())
        elif one.event == RunState.RUNNING.value and one.run_type == "scheduled" and one.due_at and one.run_started_at:
            self.schedule_delays[one.dag_id].add((one.run_started_at - one.due_at).total_seconds())

    def _take_task(self, one: Happening) -> None:
        name, place = one.task_id if self.by_task else "", (one.run_key, one.task_id, one.try_number)
        if one.event == TaskState.QUEUED.value:
            if len(self._queued) < MOST_WAITING:
                self._queued[place] = one.seq
            return
        queued_at = self._queued.pop(place, None)
        if one.event == TaskState.RUNNING.value:
            if queued_at is not None and one.queue is not None:
                self.queue_waits[one.queue].add((one.seq - queued_at) / 1e6)
        elif one.event == TaskState.UP_FOR_RETRY.value:
            self.retries[one.dag_id] += 1
        elif one.event in _ENDS:
            self.tasks[one.dag_id, name, one.event] += 1
            self.lost += one.event == TaskState.LOST.value
        if one.ended_at and one.started_at and one.event in _ENDS | {TaskState.UP_FOR_RETRY.value}:
            self.task_seconds[one.dag_id, name].add((one.ended_at - one.started_at).total_seconds())
            self.log_bytes += one.log_bytes or 0
            if one.max_rss_bytes is not None:
                self.max_rss[one.dag_id, name] = one.max_rss_bytes
