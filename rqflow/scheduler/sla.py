"""Watching the slas of scheduled runs: the leader's own work.

The sla of a task is how long after the scheduled start of its run, which is the end of its data interval, it should have ended. A miss is written
once, together with the notice for people; whoever else must know is told after that, and again by the next leader when this one was killed before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter

from rqflow import clock
from rqflow.broker.events import EventStream, is_before
from rqflow.dag.version import Version
from rqflow.recorder.loop import keep_running
from rqflow.recorder.notices import noting
from rqflow.states import TaskState
from rqflow.store import dags, notices, sla, tasks
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction
from rqflow.store.sla import Miss, WatchedRun

#: Seconds between two looks.
EVERY = 5.0
#: A new leader looks at the runs that were made since so long ago, also those that have ended: nobody watched them for a while. And so much time
#: may lie between the making of a run and its row.
LOOK_BACK, LATE_ROWS = timedelta(days=7), timedelta(minutes=1)
#: A task in one of these states has done what it should, if it did so in time.
_DONE = frozenset({TaskState.SUCCESS, TaskState.SKIPPED})
#: Of these nothing is expected any more: a person said so, or the run has no such task.
_EXEMPT = frozenset({TaskState.CANCELLED, TaskState.REMOVED})
#: Versions of which the slas are remembered.
_VERSIONS = 256

#: Is told of the new misses of one run, at least once each.
Tell = Callable[[str, Sequence[Miss]], None]


class SlaWatch:
    """Finds tasks that did not end in their sla."""

    def __init__(self, engine: Engine, recorded_upto: Callable[[], datetime], tell: Tell = lambda _run_key, _misses: None, *,
                 every: float = EVERY) -> None:
        """Look each `every` seconds at what the history knows, which is all that happened before recorded_upto(); `tell` who must know."""
        self._engine, self._recorded_upto, self._tell, self._every = engine, recorded_upto, tell, every
        self._slas: dict[str, dict[str, float]] = {}
        #: The runs of which not all is decided, and up to when was looked; None: no look was had yet.
        self._undecided: set[str] = set()
        self._looked_upto: datetime | None = None
        self._has_untold = True

    def run(self, stop: threading.Event) -> None:
        """Watch until `stop` is set, over all failures."""
        self._looked_upto, self._has_untold = None, True

        def step() -> None:
            self.step()
            stop.wait(self._every)

        keep_running(step, stop, name="slas")

    def step(self) -> int:
        """Write what was missed, and tell of it; return how many misses were new. Raises StoreError, BrokerError or redis-py's errors."""
        with reading(self._engine) as connection:
            if not sla.is_used(connection):
                return 0
        upto = self._recorded_upto()
        undecided: set[str] = set()
        found: list[Miss] = []
        with reading(self._engine) as connection:
            since = self._looked_upto - LATE_ROWS if self._looked_upto else upto - LOOK_BACK
            for run in sla.watched(connection, keys=self._undecided, since=since):
                misses, is_decided = self._look(connection, run, upto)
                found += misses
                undecided.update(() if is_decided else (run.run_key,))
        if found:
            # Before, so that a failure between the two is made good by the next look.
            self._has_untold = True
            run_in_transaction(self._engine, lambda connection: self._write(connection, found))
        self._undecided, self._looked_upto = undecided, upto
        if self._has_untold:
            self._tell_all()
        return len(found)

    def _look(self, connection: Connection, run: WatchedRun, upto: datetime) -> tuple[list[Miss], bool]:
        """Return the misses of a run up to a moment that are not written yet, and whether nothing more is to be decided about it."""
        length = run.data_interval_end - run.data_interval_start
        if length and run.created_at >= run.data_interval_end + length:
            # It makes up for the past: when it was made the next one was due already.
            return [], True
        known = sla.missed(connection, run.run_key)
        states = {one.task_id: one for one in tasks.of_run(connection, run.run_key)}
        found, is_decided = [], True
        for task_id, seconds in self._of(connection, run.version).items():
            moment, one = run.data_interval_end + timedelta(seconds=seconds), states.get(task_id)
            is_done = one is not None and (one.state in _EXEMPT or (one.state in _DONE and (one.ended_at is None or one.ended_at <= moment)))
            if task_id in known or is_done:
                continue
            if moment < upto:
                found.append(Miss(dag_id=run.dag_id, run_key=run.run_key, run_id="", logical_date=None, task_id=task_id, due_at=moment,
                                  seen_at=clock.utcnow(), is_notified=False))
            else:
                is_decided = False
        return found, is_decided

    def _write(self, connection: Connection, found: Sequence[Miss]) -> None:
        """Write misses and the notices of them."""
        sla.record(connection, [{name: getattr(one, name) for name in ("run_key", "task_id", "dag_id", "due_at", "seen_at")} for one in found])
        notices.note(connection, [noting.of_miss(one.dag_id, one.run_key, one.task_id, one.due_at) for one in found])

    def _tell_all(self) -> None:
        """Tell of the misses that nobody was told of."""
        with reading(self._engine) as connection:
            untold = sorted(sla.search(connection, untold=True), key=attrgetter("run_key", "task_id"))
        for run_key, misses in groupby(untold, key=attrgetter("run_key")):
            these = list(misses)
            self._tell(run_key, these)
            run_in_transaction(self._engine, lambda connection, these=these: sla.mark_told(connection, these))  # type: ignore[misc]
        self._has_untold = False

    def _of(self, connection: Connection, sha: str) -> dict[str, float]:
        """Return {task_id: seconds of its sla} of a version."""
        if sha not in self._slas:
            while len(self._slas) >= _VERSIONS:
                self._slas.pop(next(iter(self._slas)))
            self._slas[sha] = slas(dags.version(connection, sha))
        return self._slas[sha]


def slas(version: Version | None) -> dict[str, float]:
    """Return {task_id: seconds of its sla} of a version."""
    return {task.task_id: task.sla for task in (version.tasks if version else ()) if task.sla is not None}


def recorded_upto(stream: EventStream) -> datetime:
    """Return a moment before which everything that happened is in the history: now, unless events wait."""
    now = clock.utcnow()
    newest, upto = stream.newest(), stream.recorded_upto()
    if is_before(newest, upto):
        return now
    return min(now, clock.from_micros(int(upto.partition("-")[0]) * 1000))
