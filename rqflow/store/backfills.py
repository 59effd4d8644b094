"""Backfills: what a person asked for, and how far the leading scheduler has come with it. Changed only where nobody else changed it meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, and_, func, insert, or_, select, update

from rqflow import clock
from rqflow.dag.backfill import Found, Rerun
from rqflow.dag.run import BACKFILL, RunInfo, RunOptions
from rqflow.dag.version import TaskSpec
from rqflow.states import TERMINAL_BACKFILL_STATES, TERMINAL_RUN_STATES, BackfillState, RunState, TaskState
from rqflow.store import deletions, runs, tasks
from rqflow.store.conventions import LINE
from rqflow.store.engine import Connection
from rqflow.store.runs import RunRecord
from rqflow.store.tables import backfill, dag, dag_run

_ENDED_RUNS = [state.value for state in TERMINAL_RUN_STATES]
_OPEN = [state.value for state in BackfillState if state not in TERMINAL_BACKFILL_STATES]
#: What a backfill has begun to run and what has not ended: the end that it has may be that of the time before.
_IS_ACTIVE = or_(dag_run.c.state.not_in(_ENDED_RUNS), and_(dag_run.c.rerun_after.is_not(None), dag_run.c.seq <= dag_run.c.rerun_after))
_IS_THERE = deletions.not_buried(deletions.RUN, dag_run.c.run_key)
_HAS_ENDED = and_(dag_run.c.state.in_(_ENDED_RUNS), or_(dag_run.c.rerun_after.is_(None), dag_run.c.seq > dag_run.c.rerun_after))


@dataclass(frozen=True, kw_only=True, slots=True)
class BackfillRecord:
    """A backfill as the database knows it; the columns of table backfill."""

    id: int
    dag_id: str
    version: str
    series_start: datetime
    from_date: datetime
    to_date: datetime
    newest_first: bool
    rerun: Rerun
    max_active: int
    marks: bool
    ignores_first_past: bool
    options: RunOptions
    conf: Mapping[str, Any]
    state: BackfillState
    reason: str
    upto: datetime | None
    total: int
    is_counted: bool
    made: int
    skipped: int
    succeeded: int
    failed: int
    who: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def is_finished(self) -> bool:
        """Whether it has ended."""
        return self.state in TERMINAL_BACKFILL_STATES


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """How the runs of a backfill stand."""

    active: int = 0
    succeeded: int = 0
    failed: int = 0


def lock_dag(connection: Connection, dag_id: str) -> None:
    """Let nobody else make a backfill of this DAG until the transaction ends."""
    connection.execute(select(dag.c.dag_id).where(dag.c.dag_id == dag_id).with_for_update())


def create(connection: Connection, record: BackfillRecord) -> int:
    """Write a new backfill, whatever its `id` says; return the one that it got."""
    row = {name: getattr(record, name) for name in BackfillRecord.__slots__ if name != "id"}
    row |= {"options": asdict(record.options), "state": record.state.value, "rerun": record.rerun.value}
    number: int = connection.execute(insert(backfill).values(row)).inserted_primary_key[0]  # type: ignore[index]
    return number


def get(connection: Connection, number: int) -> BackfillRecord | None:
    """Return the backfill of this id, or None."""
    row = connection.execute(select(backfill).where(backfill.c.id == number)).mappings().first()
    return _record(row) if row else None


def search(
    connection: Connection, *, dag_id: str | None = None, states: Collection[BackfillState] | None = None, limit: int | None = None,
) -> list[BackfillRecord]:
    """Return the backfills that pass, the newest first; what is None does not matter."""
    query = select(backfill).order_by(backfill.c.id.desc()).limit(limit)
    if dag_id is not None:
        query = query.where(backfill.c.dag_id == dag_id)
    if states is not None:
        query = query.where(backfill.c.state.in_([state.value for state in states]))
    return [_record(row) for row in connection.execute(query).mappings()]


def unfinished(connection: Connection) -> list[BackfillRecord]:
    """Return the backfills that have not ended, the oldest first."""
    query = select(backfill).where(backfill.c.state.in_(_OPEN)).order_by(backfill.c.id)
    return [_record(row) for row in connection.execute(query).mappings()]


def overlapping(connection: Connection, dag_id: str, first: datetime, last: datetime) -> BackfillRecord | None:
    """Return a backfill of the DAG that has not ended and has dates between these two, or None."""
    query = select(backfill).where(backfill.c.dag_id == dag_id, backfill.c.state.in_(_OPEN))
    query = query.where(backfill.c.from_date <= last, backfill.c.to_date >= first)
    row = connection.execute(query.order_by(backfill.c.id).limit(1)).mappings().first()
    return _record(row) if row else None


def change(connection: Connection, number: int, states: Collection[BackfillState], to: BackfillState, *, reason: str = "") -> bool:
    """Bring a backfill that is in one of `states` into another one; False when it is in none of them. Safe to repeat."""
    values: dict[str, Any] = {"state": to.value, "reason": reason[:LINE]}
    if to is BackfillState.RUNNING:
        values["started_at"] = func.coalesce(backfill.c.started_at, clock.utcnow())
    query = update(backfill).where(backfill.c.id == number, backfill.c.state.in_([state.value for state in states]))
    return connection.execute(query.values(values)).rowcount == 1


def advance(connection: Connection, before: BackfillRecord, *, upto: datetime, made: int = 0, skipped: int = 0) -> bool:
    """Note that the dates up to `upto` are settled, so many of them in either way; False when it was led further since `before` was read."""
    same = backfill.c.upto.is_(None) if before.upto is None else backfill.c.upto == before.upto
    query = update(backfill).where(backfill.c.id == before.id, same)
    return connection.execute(query.values(upto=upto, made=backfill.c.made + made, skipped=backfill.c.skipped + skipped)).rowcount == 1


def end(connection: Connection, number: int, state: BackfillState, counted: Tally, *, reason: str = "") -> bool:
    """End a backfill, with what became of its runs; False when it has ended already."""
    values: dict[str, Any] = {"state": state.value, "reason": reason[:LINE], "ended_at": clock.utcnow()}
    values |= {"succeeded": counted.succeeded, "failed": counted.failed}
    # How many dates there were is known now, unless it did not come to all of them.
    if state is not BackfillState.CANCELLED and not reason:
        values |= {"total": backfill.c.made + backfill.c.skipped, "is_counted": True}
    return connection.execute(update(backfill).where(backfill.c.id == number, backfill.c.state.in_(_OPEN)).values(values)).rowcount == 1


# ---------------------------------------------------------------- its runs


def tally(connection: Connection, number: int) -> Tally:
    """Return how many runs of a backfill are active, and how the others ended."""
    active = connection.execute(select(func.count()).where(dag_run.c.backfill_id == number, _IS_ACTIVE, _IS_THERE)).scalar_one()
    query = select(dag_run.c.state, func.count()).where(dag_run.c.backfill_id == number, _HAS_ENDED, _IS_THERE).group_by(dag_run.c.state)
    ended = {RunState(state): count for state, count in connection.execute(query)}
    return Tally(active=active, succeeded=ended.pop(RunState.SUCCESS, 0), failed=sum(ended.values()))


def active_runs(connection: Connection, number: int, *, limit: int | None = None) -> list[RunRecord]:
    """Return the runs of a backfill that have not ended, those included that are to be run again, by date."""
    return runs.matching(connection, dag_run.c.backfill_id == number, _IS_ACTIVE, limit=limit)


def failed_runs(connection: Connection, number: int, *, limit: int | None = None) -> list[RunRecord]:
    """Return the runs of a backfill that have ended, and not well, by date."""
    bad = [state.value for state in TERMINAL_RUN_STATES if state is not RunState.SUCCESS]
    return runs.matching(connection, dag_run.c.backfill_id == number, dag_run.c.state.in_(bad), _HAS_ENDED, limit=limit)


def found(connection: Connection, dag_id: str, first: datetime, last: datetime, number: int | None = None) -> dict[datetime, Found]:
    """Return {logical date: its run} of the runs of a DAG with a date between these two.

    Of several for one date it is the one that the backfill `number` has made or runs again, else one that a schedule or a backfill has made, else
    the newest.
    """
    columns = (dag_run.c.logical_date, dag_run.c.run_key, dag_run.c.run_id, dag_run.c.state, dag_run.c.backfill_id, dag_run.c.tick)
    query = select(*columns).where(dag_run.c.dag_id == dag_id, dag_run.c.logical_date >= first, dag_run.c.logical_date <= last, _IS_THERE)
    rows = sorted(connection.execute(query.order_by(dag_run.c.created_at, dag_run.c.run_key)),
                  key=lambda row: (number is not None and row.backfill_id == number, row.tick is not None))
    return {row.logical_date: Found(run_key=row.run_key, run_id=row.run_id, state=RunState(row.state), backfill_id=row.backfill_id) for row in rows}


def taken_run_ids(connection: Connection, dag_id: str) -> dict[str, datetime]:
    """Return {run id: logical date} of the runs of a DAG that are called as those of a backfill are, and were made in another way."""
    query = select(dag_run.c.run_id, dag_run.c.logical_date).where(dag_run.c.dag_id == dag_id, dag_run.c.run_type != BACKFILL)
    query = query.where(dag_run.c.run_id >= f"{BACKFILL}__", dag_run.c.run_id < f"{BACKFILL}_`")
    return {row.run_id: row.logical_date for row in connection.execute(query)}


def run_again(connection: Connection, number: int, run_key: str, *, after: int | None) -> None:
    """Note that a backfill runs a run again: that is still to come while the run's seq is not later than `after`; None: it counts as it ended."""
    connection.execute(update(dag_run).where(dag_run.c.run_key == run_key).values(backfill_id=number, rerun_after=after))


def mark(connection: Connection, run: RunInfo, specs: Sequence[TaskSpec], *, by: str) -> bool:
    """Write a run that has ended in success, as have the tasks `specs` of it, without anything having run; False when its date has a run."""
    now = clock.utcnow()
    seq, words = clock.to_micros(now), f"marked success by {by}"
    if not runs.create(connection, run):
        return False
    runs.record_states(connection, [{
        "run_key": run.key, "dag_id": run.dag_id, "run_id": run.run_id, "state": RunState.SUCCESS.value, "seq": seq, "started_at": now,
        "ended_at": now,
    }])
    nothing = {"worker": "", "execution_id": "", "started_at": None}
    tasks.record_states(connection, [{
        "run_key": run.key, "task_id": task.task_id, "task_index": task.index, "state": TaskState.SUCCESS.value, "try_number": 1, "seq": seq,
        "max_tries": task.retries + 1, "reason": words[:LINE], "queue": task.queue, "pool": run.options.pool or task.pool, **nothing, "ended_at": now,
        "updated_at": now,
    } for task in specs])
    return True


def _record(row: RowMapping) -> BackfillRecord:
    plain = {name: row[name] for name in BackfillRecord.__slots__}
    read = {"state": BackfillState(row["state"]), "rerun": Rerun(row["rerun"]), "options": RunOptions(**row["options"])}
    return BackfillRecord(**{**plain, **read})
