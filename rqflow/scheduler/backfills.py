"""Carrying on with backfills: the leader's own work, a few runs at a time.

What is to be done, and how far it was done, is in SQL: a run says which backfill has made it, and there is one a date. So whoever is killed anywhere
here, and however many do this at the same time, no date is left out and none is run twice.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import islice

from rqflow import logs
from rqflow.broker import rows
from rqflow.dag import backfill, series
from rqflow.dag.backfill import Choice, Deed, Part
from rqflow.dag.run import BACKFILL, RunInfo
from rqflow.dag.series import Interval, Series
from rqflow.dag.version import Version
from rqflow.exceptions import Conflict, UsageError
from rqflow.recorder.loop import keep_running
from rqflow.states import BackfillState
from rqflow.store import backfills, dags, runs
from rqflow.store.backfills import BackfillRecord, Tally
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction
from rqflow.store.runs import RunRecord

logger = logging.getLogger(__name__)

#: Seconds between two looks while there is a backfill that goes on.
LOOK_EVERY = 0.25
#: Dates that are looked at, or marked, at once.
DATES = 200
#: Versions that are kept in memory.
_VERSIONS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Deeds:
    """What a backfill has done to runs; each is safe to repeat."""

    #: The run of a backfill for an interval; raises UsageError when its params do not do.
    run_of: Callable[[BackfillRecord, Version, Interval], RunInfo]
    #: Start a run, unless its date has another one: False then.
    start: Callable[[RunInfo, Version], bool]
    #: Run a run again that has ended.
    rerun: Callable[[BackfillRecord, RunRecord], None]
    #: Cancel a run that has not ended.
    cancel: Callable[[BackfillRecord, RunRecord], None]


class Backfiller:
    """Makes the runs of backfills, as many at a time as may be active, and sees to their end."""

    def __init__(self, engine: Engine, deeds: Deeds) -> None:
        """Work on this history."""
        self._engine, self._deeds = engine, deeds
        self._version = lru_cache(maxsize=_VERSIONS)(self._read_version)

    def run(self, stop: threading.Event, idle: Callable[[], None]) -> None:
        """Work until `stop` is set, over all failures; `idle` waits until there may be a backfill."""

        def step() -> None:
            found, has_more = self.step()
            if found and not has_more:
                stop.wait(LOOK_EVERY)
            elif not has_more:
                idle()

        keep_running(step, stop, name="backfills")

    def step(self) -> tuple[int, bool]:
        """Do what can be done now; return how many backfills go on, and whether there is more to do at once.

        Raises StoreError, BrokerError or redis-py's errors.
        """
        with reading(self._engine) as connection:
            found = backfills.unfinished(connection)
        more = [self._carry_on(record) for record in found]
        return sum(record.state is not BackfillState.PAUSED for record in found), any(more)

    def _carry_on(self, record: BackfillRecord) -> bool:
        """Do what can be done of one backfill now; tell whether there is more."""
        version = self._version(record.version)
        if version is None:
            self._end(record, BackfillState.FAILED, f"the version of {record.dag_id} that it runs is gone: the DAG was deleted")
            return False
        if record.state is BackfillState.QUEUED:
            self._change(record, BackfillState.QUEUED, BackfillState.RUNNING)
            record = replace(record, state=BackfillState.RUNNING)
        with reading(self._engine) as connection:
            active = backfills.active_runs(connection, record.id)
        for run in active:
            self._mend(record, version, run)
        if record.state is BackfillState.CANCELLING:
            self._cancel(record, active)
        if record.state is not BackfillState.RUNNING:
            return False
        try:
            return self._begin(record, version, room=DATES if record.marks else record.max_active - len(active), is_busy=bool(active))
        except (UsageError, Conflict) as error:
            self._end(record, BackfillState.FAILED, error.message)
            return False

    def _mend(self, record: BackfillRecord, version: Version, run: RunRecord) -> None:
        """Carry through what was begun with a run by somebody who died over it."""
        if run.rerun_after is not None and run.seq <= run.rerun_after:
            if record.state is BackfillState.CANCELLING:
                run_in_transaction(self._engine, partial(backfills.run_again, number=record.id, run_key=run.run_key, after=None))
            else:
                self._deeds.rerun(record, run)
        elif run.seq == 0 and run.run_type == BACKFILL and run.info:
            self._deeds.start(run.info, version)

    def _cancel(self, record: BackfillRecord, active: list[RunRecord]) -> None:
        for run in active:
            self._deeds.cancel(record, run)
        if not active:
            self._end(record, BackfillState.CANCELLED, record.reason)

    def _begin(self, record: BackfillRecord, version: Version, *, room: int, is_busy: bool) -> bool:
        """Begin with as many dates as there is room for; tell whether there are more. Ends the backfill after the last one."""
        if room <= 0:
            return False
        dates = series.of(version, record.series_start)
        part, has_more = self._next(record, dates, room)
        if part.choices:
            counted = self._mark(record, version, dates, part) if record.marks else self._start(record, version, dates, part)
            upto = part.choices[-1].interval.logical_date
            run_in_transaction(self._engine, partial(backfills.advance, before=record, upto=upto, made=counted[0], skipped=counted[1]))
            return has_more
        if not is_busy and not has_more:
            with reading(self._engine) as connection:
                failed = backfills.tally(connection, record.id).failed
            self._end(record, BackfillState.FAILED if failed else BackfillState.SUCCESS)
        return False

    def _next(self, record: BackfillRecord, dates: Series, room: int) -> tuple[Part, bool]:
        """Return what is to be done next, and whether more can be done at once after that."""
        rest = list(islice(backfill.remaining(dates, record.from_date, record.to_date, record.upto, newest_first=record.newest_first), DATES + 1))
        if not rest:
            return Part(is_last=True), False
        some = rest[:DATES]
        with reading(self._engine) as connection:
            there = backfills.found(connection, record.dag_id, min(some).logical_date, max(some).logical_date, record.id)
        part = backfill.next_part(some, there, record.rerun, record.id, room=room)
        began = sum(one.deed in {Deed.MAKE, Deed.RERUN} for one in part.choices)
        return part, len(part.choices) < len(rest) and (record.marks or began < room)

    def _start(self, record: BackfillRecord, version: Version, dates: Series, part: Part) -> tuple[int, int]:
        """Start or run again what was chosen; return of how many dates a run was made or run again, and how many are left as they are."""
        made = skipped = 0
        for choice in part.choices:
            is_ours = choice.deed is Deed.DONE
            if choice.deed is Deed.MAKE:
                is_ours = self._deeds.start(self._run_of(record, version, dates, choice), version)
            elif choice.deed is Deed.RERUN:
                is_ours = self._rerun(record, choice)
            made, skipped = (made + 1, skipped) if is_ours else (made, skipped + 1)
        return made, skipped

    def _rerun(self, record: BackfillRecord, choice: Choice) -> bool:
        """Run a date's run again; False when it is gone meanwhile."""
        assert choice.found, "only what is there is run again"
        with reading(self._engine) as connection:
            run = runs.by_key(connection, choice.found.run_key)
        if run is not None:
            self._deeds.rerun(record, run)
        return run is not None

    def _mark(self, record: BackfillRecord, version: Version, dates: Series, part: Part) -> tuple[int, int]:
        """Record the dates that have no run as a success; return how many these are, and how many others."""
        planned = [(choice.deed, self._run_of(record, version, dates, choice)) for choice in part.choices]
        by = f"{record.who} (backfill {record.id})"

        def write(connection: Connection) -> int:
            made = 0
            for deed, run in planned:
                gone = rows.removed_tasks(version, run)
                specs = [task for task in version.tasks if task.index not in gone]
                noted = replace(run, note=f"marked success by {by}")
                made += deed is Deed.DONE or (deed is Deed.MAKE and backfills.mark(connection, noted, specs, by=by))
            return made

        made = run_in_transaction(self._engine, write)
        return made, len(planned) - made

    def _run_of(self, record: BackfillRecord, version: Version, dates: Series, choice: Choice) -> RunInfo:
        run = self._deeds.run_of(record, version, choice.interval)
        is_first = record.ignores_first_past and choice.interval == next(dates.between(record.from_date, record.to_date))
        return replace(run, ignores_past=True) if is_first else run

    def _change(self, record: BackfillRecord, state: BackfillState, to: BackfillState) -> None:
        run_in_transaction(self._engine, partial(backfills.change, number=record.id, states={state}, to=to))
        logger.info("backfill %s of %s is %s", record.id, record.dag_id, to.value, extra=logs.context("backfill_begun", dag_id=record.dag_id))

    def _end(self, record: BackfillRecord, state: BackfillState, reason: str = "") -> None:
        def write(connection: Connection) -> Tally:
            counted = backfills.tally(connection, record.id)
            backfills.end(connection, record.id, state, counted, reason=reason)
            return counted

        counted = run_in_transaction(self._engine, write)
        logger.info("backfill %s of %s: %s, %s runs succeeded, %s failed%s", record.id, record.dag_id, state.value, counted.succeeded, counted.failed,
                    f": {reason}" if reason else "", extra=logs.context("backfill_ended", dag_id=record.dag_id))

    def _read_version(self, sha: str) -> Version | None:
        with reading(self._engine) as connection:
            return dags.version(connection, sha)
