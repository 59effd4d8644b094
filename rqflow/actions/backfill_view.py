"""Backfills as people and programs are shown them, and watching one until it ends. The fields only grow."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from rqflow import clock, logs
from rqflow.actions.follow import Deadline
from rqflow.exceptions import NotFound, StoreError
from rqflow.states import TERMINAL_BACKFILL_STATES, BackfillState, RunState
from rqflow.store import backfills
from rqflow.store.backfills import BackfillRecord, Tally
from rqflow.store.engine import Connection, Engine, reading

logger = logging.getLogger(__name__)

#: Seconds between two looks.
EVERY = 0.25
#: Runs that are named at most.
NAMED = 20
#: Why one does not go on that nobody carries on.
UNLED = "no scheduler runs that carries it on: rqflow scheduler"


@dataclass(frozen=True, kw_only=True, slots=True)
class BackfillRun:
    """A run of a backfill that is active, or has failed."""

    run_id: str
    state: RunState
    logical_date: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    run_key: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backfill:
    """A backfill, and how far it has come."""

    id: int
    dag_id: str
    state: BackfillState
    #: Why it is so, or what its next date waits for.
    reason: str
    from_date: datetime
    to_date: datetime
    version: str
    rerun: str
    reverse: bool
    max_active: int
    mark_success: bool
    task_regex: str
    ignore_dependencies: bool
    ignore_first_depends_on_past: bool
    pool: str
    conf: Mapping[str, Any]
    #: Dates that it has, and whether they were counted: else it is an estimate.
    total: int
    is_counted: bool
    #: Of these: not come to yet; with a run that is active, ended well, ended in another way; left as they are, because they have a run.
    waiting: int
    active: int
    succeeded: int
    failed: int
    skipped: int
    #: When it will have ended at the pace that it had so far; None: nobody can tell.
    eta: datetime | None
    who: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    active_runs: tuple[BackfillRun, ...] = ()
    failed_runs: tuple[BackfillRun, ...] = ()

    @property
    def is_finished(self) -> bool:
        """Whether it has ended."""
        return self.state in TERMINAL_BACKFILL_STATES

    @property
    def done(self) -> int:
        """Dates that nothing is to be done for any more."""
        return self.succeeded + self.failed + self.skipped


def describe(record: BackfillRecord, tally: Tally, now: datetime, *, has_leader: bool = True) -> Backfill:
    """Return a backfill as it is shown. Pure."""
    if record.is_finished:
        tally = Tally(active=tally.active, succeeded=record.succeeded, failed=record.failed)
    waiting = max(record.total - record.made - record.skipped, 0)
    return Backfill(
        id=record.id, dag_id=record.dag_id, state=record.state, reason=_reason(record, tally, waiting, has_leader=has_leader),
        from_date=record.from_date, to_date=record.to_date, version=record.version, rerun=record.rerun.value, reverse=record.newest_first,
        max_active=record.max_active, mark_success=record.marks, task_regex=record.options.task_regex, ignore_dependencies=record.options.alone,
        ignore_first_depends_on_past=record.ignores_first_past, pool=record.options.pool, conf=record.conf, total=record.total,
        is_counted=record.is_counted, waiting=waiting, active=tally.active, succeeded=tally.succeeded, failed=tally.failed, skipped=record.skipped,
        eta=_eta(record, tally, now), who=record.who, created_at=record.created_at, started_at=record.started_at, ended_at=record.ended_at)


def _reason(record: BackfillRecord, tally: Tally, waiting: int, *, has_leader: bool) -> str:
    if record.is_finished:
        return record.reason
    if not has_leader:
        return UNLED
    if record.reason:
        goes_on = f"; {tally.active} run{'s' if tally.active > 1 else ''} of it go{'es' if tally.active == 1 else ''} on" if tally.active else ""
        return f"{record.reason}{goes_on if record.state is BackfillState.PAUSED else ''}"
    if waiting and tally.active >= record.max_active:
        return f"waits: {tally.active} of {record.max_active} active"
    return "waits for the end of its last runs" if tally.active and not waiting else ""


def _eta(record: BackfillRecord, tally: Tally, now: datetime) -> datetime | None:
    ended = tally.succeeded + tally.failed
    if record.state is not BackfillState.RUNNING or record.started_at is None or not ended:
        return None
    rest = max(record.total - record.skipped - ended, 0)
    return now + (now - record.started_at) / ended * rest


def list_all(engine: Engine, *, dag_id: str | None = None, states: list[BackfillState] | None = None, limit: int | None = None,
             has_leader: bool = True) -> list[Backfill]:
    """Return the backfills that pass, the newest first, without their runs."""
    with reading(engine) as connection:
        found = backfills.search(connection, dag_id=dag_id, states=states, limit=limit)
        return [describe(one, _tally(connection, one), clock.utcnow(), has_leader=has_leader) for one in found]


def show(engine: Engine, number: int, *, has_leader: bool = True) -> Backfill:
    """Return a backfill with its first active and failed runs; raises NotFound."""
    with reading(engine) as connection:
        record = backfills.get(connection, number)
        if record is None:
            raise NotFound(f"there is no backfill {number}")
        active, failed = backfills.active_runs(connection, number, limit=NAMED), backfills.failed_runs(connection, number, limit=NAMED)
        found = describe(record, _tally(connection, record), clock.utcnow(), has_leader=has_leader)
    runs = [tuple(BackfillRun(run_id=run.run_id, state=run.state, logical_date=run.logical_date, started_at=run.started_at, ended_at=run.ended_at,
                              run_key=run.run_key) for run in some) for some in (active, failed)]
    return replace(found, active_runs=runs[0], failed_runs=runs[1])


def _tally(connection: Connection, record: BackfillRecord) -> Tally:
    return Tally() if record.is_finished else backfills.tally(connection, record.id)


def snapshots(engine: Engine, number: int, *, timeout: timedelta | None = None) -> Iterator[Backfill]:
    """Yield a backfill again and again, the last time when it has ended, over any loss of the database.

    Raises TimedOut when it has not ended within `timeout`, NotFound when it is gone.
    """
    deadline, was_away = Deadline(timeout), False
    while True:
        try:
            found = show(engine, number)
        except StoreError as error:
            if not was_away:
                logger.warning("%s; waiting for it, the backfill goes on", error.message, extra=logs.context("database_away"))
            was_away = True
        else:
            was_away = False
            yield found
            if found.is_finished:
                return
        deadline.check(f"backfill {number}")
        clock.sleep(EVERY)
