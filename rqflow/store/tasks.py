"""Task instances and their tries, as the recorder writes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, bindparam, func, or_, select, update

from rqflow.states import TaskState
from rqflow.store.engine import Connection
from rqflow.store.tables import task_instance, task_try
from rqflow.store.upsert import Rule, upsert

_STATES = Rule(table=task_instance, order=("try_number", "seq"))
_TRIES = Rule(table=task_try, order=("seq",))
_UNKNOWN_TRIES = Rule(table=task_try)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRecord:
    """A task instance as the database knows it; the columns of table task_instance."""

    run_key: str
    task_id: str
    task_index: int
    state: TaskState
    try_number: int
    seq: int
    max_tries: int
    reason: str
    queue: str
    pool: str
    worker: str
    execution_id: str
    started_at: datetime | None
    ended_at: datetime | None
    updated_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class TryRecord:
    """One try as the database knows it; the columns of table task_try."""

    run_key: str
    task_id: str
    try_number: int
    state: TaskState
    seq: int
    reason: str
    execution_id: str
    queue: str
    worker: str
    host: str
    pid: int | None
    exit_code: int | None
    signal: int | None
    cpu_seconds: float | None
    max_rss_bytes: int | None
    log_bytes: int | None
    facts: Mapping[str, Any]
    started_at: datetime | None
    ended_at: datetime | None
    #: What an end told that came after the task instance had moved on: state, reason, execution, worker, started_at, ended_at, facts.
    late: Mapping[str, Any] | None


def of_run(connection: Connection, run_key: str, *, states: Collection[TaskState] | None = None) -> list[TaskRecord]:
    """Return the task instances of a run, in the order of the version; a task to which nothing happened yet has none."""
    query = select(task_instance).where(task_instance.c.run_key == run_key).order_by(task_instance.c.task_index, task_instance.c.task_id)
    if states is not None:
        query = query.where(task_instance.c.state.in_([state.value for state in states]))
    return [_task(row) for row in connection.execute(query).mappings()]


def get(connection: Connection, run_key: str, task_id: str) -> TaskRecord | None:
    """Return the task instance, or None."""
    query = select(task_instance).where(task_instance.c.run_key == run_key, task_instance.c.task_id == task_id)
    row = connection.execute(query).mappings().first()
    return _task(row) if row else None


def counts(connection: Connection, run_keys: Collection[str]) -> dict[str, dict[TaskState, int]]:
    """Return how many task instances each run has in each state; tasks to which nothing happened yet are not counted."""
    found: dict[str, dict[TaskState, int]] = {key: {} for key in run_keys}
    query = select(task_instance.c.run_key, task_instance.c.state, func.count()).where(task_instance.c.run_key.in_(list(run_keys)))
    for key, state, number in connection.execute(query.group_by(task_instance.c.run_key, task_instance.c.state)):
        found[key][TaskState(state)] = number
    return found


def tries(connection: Connection, run_key: str, task_id: str | None = None) -> list[TryRecord]:
    """Return the tries of a run, or of one of its tasks, by task and number.

    A try that went back to its queue before the worker started it has the state of its task instance.
    """
    on = (task_instance.c.run_key == task_try.c.run_key) & (task_instance.c.task_id == task_try.c.task_id)
    query = select(task_try, task_instance.c.state.label("ti_state"), task_instance.c.try_number.label("ti_try")).outerjoin(task_instance, on)
    query = query.where(task_try.c.run_key == run_key)
    if task_id is not None:
        query = query.where(task_try.c.task_id == task_id)
    query = query.order_by(task_instance.c.task_index, task_try.c.task_id, task_try.c.try_number)
    return [_try(row) for row in connection.execute(query).mappings()]


def task_ids(connection: Connection, places: Collection[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """Return the task ids of (run key, task index) pairs; those that the database does not know are left out."""
    columns = task_instance.c
    query = select(columns.run_key, columns.task_index, columns.task_id).where(columns.run_key.in_({key for key, _ in places}))
    return {(key, index): task_id for key, index, task_id in connection.execute(query) if (key, index) in places}


def record_states(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write task instances as events tell them, all columns; a row that is not newer by (try_number, seq) changes nothing."""
    upsert(connection, _STATES, rows)


def record_tries(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write tries as events tell them, all columns but late and late_seq; a row that is not newer by seq changes nothing."""
    upsert(connection, _TRIES, rows)


def record_late(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep ends that came too late with their tries: run_key, task_id, try_number, late (an object), late_seq; the newest stays.

    A try of which nothing else is known gets a row in the state lost.
    """
    if not rows:
        return
    nothing = dict.fromkeys(("reason", "execution_id", "queue", "worker", "host"), "")
    keys = ("run_key", "task_id", "try_number")
    upsert(connection, _UNKNOWN_TRIES, [{**{key: row[key] for key in keys}, "state": TaskState.LOST.value, "seq": 0, **nothing} for row in rows])
    columns = task_try.c
    is_newer = or_(columns.late_seq.is_(None), columns.late_seq < bindparam("new_seq"))
    change = update(task_try).where(*(columns[key] == bindparam(f"its_{key}") for key in keys), is_newer)
    values = [{**{f"its_{key}": row[key] for key in keys}, "new_seq": row["late_seq"], "new_late": row["late"]} for row in rows]
    connection.execute(change.values(late=bindparam("new_late"), late_seq=bindparam("new_seq")), values)


def _task(row: RowMapping) -> TaskRecord:
    return TaskRecord(**{**row, "state": TaskState(row["state"])})


def _try(row: RowMapping) -> TryRecord:
    plain = {name: row[name] for name in TryRecord.__slots__}
    record = TryRecord(**{**plain, "state": TaskState(row["state"]), "facts": row["facts"] or {}})
    if record.late and record.ended_at and record.state is not TaskState.LOST and record.late.get("execution") == record.execution_id:
        # The same end told twice, as a worker does that was not sure to be heard.
        record = replace(record, late=None)
    if record.state is TaskState.RUNNING and row["ti_try"] == record.try_number:
        return replace(record, state=TaskState(row["ti_state"]))
    return record
