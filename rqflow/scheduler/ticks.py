"""Starting the runs that are due by the schedules of DAGs: the leader's own work, never a worker's.

SQL knows how far each schedule was followed, and has one row a (DAG, logical date): whoever is killed anywhere here, and however many do this at the
same time, no date is left out and none comes twice. rq-scheduler's set in Redis only wakes us: one entry a DAG, put there anew by each leader.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial

from rqflow import clock, logs
from rqflow.broker.broker import Broker
from rqflow.dag import series
from rqflow.dag.series import Interval, Series
from rqflow.dag.version import Version
from rqflow.exceptions import UsageError
from rqflow.recorder.loop import keep_running
from rqflow.store import dags, schedules
from rqflow.store.engine import Engine, reading, run_in_transaction
from rqflow.store.schedules import DueDag

logger = logging.getLogger(__name__)

#: Seconds after which is looked even if nothing rang: what waits for room among the active runs, and what a loss of Redis forgot.
LOOK_EVERY = 1.0
#: DAGs whose versions are read, and whose alarms are set, at once; versions that are kept in memory.
_AT_ONCE, _VERSIONS = 50, 512

#: How often it is looked in one step for dates to start beyond those that have a run already.
_LOOKS = 20

#: Starts the scheduled run of a version for an interval, unless there is a run of a schedule or a backfill of its date: False then; raises UsageError
#: when its params do not do.
Start = Callable[[Version, Interval], bool]


class Ticker:
    """Starts what is due, and sets the alarm of each DAG for what comes next."""

    def __init__(self, broker: Broker, engine: Engine, start: Start, *, catchup_by_default: bool) -> None:
        """Work with a `broker` of its own."""
        self._broker, self._engine, self._start, self._catchup = broker, engine, start, catchup_by_default
        self._rung = threading.Event()
        self._is_new = True
        self._versions: OrderedDict[str, Version] = OrderedDict()

    def ring(self) -> None:
        """Say that something may be due."""
        self._rung.set()

    def run(self, stop: threading.Event, may_be_due: Callable[[], bool]) -> None:
        """Work until `stop` is set, over all failures; without a ring only when something may be due."""
        self._is_new = True

        def step() -> None:
            self.step()
            while not self._rung.wait(LOOK_EVERY) and not stop.is_set() and not may_be_due():
                pass
            self._rung.clear()

        keep_running(step, stop, name="schedules")

    def step(self) -> int:
        """Start all that is due; return how many runs were. Raises StoreError, BrokerError or redis-py's errors."""
        if self._is_new:
            with reading(self._engine) as connection:
                upcoming = schedules.upcoming(connection)
            self._broker.set_ticks(upcoming)
            self._is_new = False
        now = clock.utcnow()
        with reading(self._engine) as connection:
            found = schedules.due(connection, now)
            active = schedules.unfinished(connection, [one.dag_id for one in found]) if found else {}
        return sum(self._tick_all(found[at:at + _AT_ONCE], active, now) for at in range(0, len(found), _AT_ONCE))

    def _tick_all(self, found: Sequence[DueDag], active: Mapping[str, int], now: datetime) -> int:
        """Start what is due of some DAGs, then set their alarms; should that not come to pass, others look at what is due without any."""
        upcoming: dict[str, datetime | None] = {}
        versions = self._known({one.version for one in found})
        started = sum(self._tick(one, versions[one.version], active.get(one.dag_id, 0), now, upcoming) for one in found if one.version in versions)
        self._broker.set_ticks(upcoming)
        return started

    def _tick(self, one: DueDag, version: Version, active: int, now: datetime, upcoming: dict[str, datetime | None]) -> int:
        """Start what is due of one DAG, as far as there is room; return how many runs that was. Adds to `upcoming` when the next one is."""
        dates = series.of(version, one.followed.start)
        makes_up = series.makes_up(version, self._catchup)
        room = series.room(version, active)
        upto, started = one.followed.upto, 0
        for _ in range(_LOOKS):
            plan = series.resume(dates, upto, now, catchup=makes_up, room=room)
            fresh = sum(self._start_one(version, interval) for interval in plan.runs)
            upto, room, started = plan.upto, room - fresh, started + fresh
            # Dates that a backfill has run take none of the room.
            if fresh == len(plan.runs) or not makes_up:
                break
        if plan.skipped:
            logger.warning("%s: %s dates before %s were missed and are left out, for it has no catch-up", one.dag_id,
                           plan.skipped if plan.skipped <= series.MOST_COUNTED else f"more than {series.MOST_COUNTED}",
                           plan.runs[-1].logical_date.isoformat(), extra=logs.context("ticks_skipped", dag_id=one.dag_id))
        self._advance(one, upto, dates, upcoming)
        return started

    def _start_one(self, version: Version, interval: Interval) -> bool:
        """Start the run of a date; False when it has one. One that cannot be started counts: it is its fault alone, and others must not wait."""
        try:
            return self._start(version, interval)
        except UsageError as error:
            logger.error("%s is not run for %s: %s", version.dag_id, interval.logical_date.isoformat(), error,
                         extra=logs.context("tick_failed", dag_id=version.dag_id))
            return True

    def _advance(self, one: DueDag, upto: datetime | None, dates: Series, upcoming: dict[str, datetime | None]) -> None:
        """Note that all is settled up to a date, and what comes next."""
        following = dates.next(upto)
        at = following.end if following else None
        if (upto, at) == (one.followed.upto, one.followed.next_run_at):
            return
        if run_in_transaction(self._engine, partial(schedules.advance, dag_id=one.dag_id, before=one.followed, upto=upto, next_run_at=at)):
            upcoming[one.dag_id] = at

    def _known(self, shas: Collection[str]) -> Mapping[str, Version]:
        """Return {sha: version} of those that there are, most of them from memory."""
        if missing := [sha for sha in shas if sha not in self._versions]:
            with reading(self._engine) as connection:
                self._versions.update(dags.versions(connection, missing))
        found = {sha: self._versions[sha] for sha in shas if sha in self._versions}
        for sha in found:
            self._versions.move_to_end(sha)
        while len(self._versions) > _VERSIONS:
            self._versions.popitem(last=False)
        return found
