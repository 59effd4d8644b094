"""Task instances and their tries, as the recorder writes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, null, or_, select, update

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
    #: The version that it follows; None: its run's.
    version: str | None = None


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
    #: The version that it was of; None: its run's.
    version: str | None = None


#: Rows are read by place: looking a column up by its name takes longer than all else about it, and a run may have 10,000 rows.
_TASK_FIELDS, _TRY_FIELDS = TaskRecord.__slots__, TryRecord.__slots__
_TASK_COLUMNS = [task_instance.c[name] for name in _TASK_FIELDS]


def of_run(connection: Connection, run_key: str, *, states: Collection[TaskState] | None = None) -> list[TaskRecord]:
    """Return the task instances of a run, in the order of the version; a task to which nothing happened yet has none."""
    query = select(*_TASK_COLUMNS).where(task_instance.c.run_key == run_key).order_by(task_instance.c.task_index, task_instance.c.task_id)
    if states is not None:
        query = query.where(task_instance.c.state.in_([state.value for state in states]))
    return [_task(row) for row in connection.execute(query)]


def get(connection: Connection, run_key: str, task_id: str) -> TaskRecord | None:
    """Return the task instance, or None."""
    query = select(*_TASK_COLUMNS).where(task_instance.c.run_key == run_key, task_instance.c.task_id == task_id)
    row = connection.execute(query).first()
    return _task(row) if row else None


def counts(connection: Connection, run_keys: Collection[str]) -> dict[str, dict[TaskState, int]]:
    """Return how many task instances each run has in each state; tasks to which nothing happened yet are not counted."""
    found: dict[str, dict[TaskState, int]] = {key: {} for key in run_keys}
    query = select(task_instance.c.run_key, task_instance.c.state, func.count()).where(task_instance.c.run_key.in_(list(run_keys)))
    for key, state, number in connection.execute(query.group_by(task_instance.c.run_key, task_instance.c.state)):
        found[key][TaskState(state)] = number
    return found


def tries(connection: Connection, run_key: str, task_id: str | None = None, *, with_facts: bool = True) -> list[TryRecord]:
    """Return the tries of a run, or of one of its tasks, by task and number; without `with_facts` all have empty facts, which takes less time.

    A try that went back to its queue before the worker started it has the state of its task instance.
    """
    on = (task_instance.c.run_key == task_try.c.run_key) & (task_instance.c.task_id == task_try.c.task_id)
    columns = [null() if name == "facts" and not with_facts else task_try.c[name] for name in _TRY_FIELDS]
    query = select(*columns, task_instance.c.state, task_instance.c.try_number).outerjoin(task_instance, on).select_from(task_try)
    query = query.where(task_try.c.run_key == run_key)
    if task_id is not None:
        query = query.where(task_try.c.task_id == task_id)
    query = query.order_by(task_instance.c.task_index, task_try.c.task_id, task_try.c.try_number)
    return [_try(row) for row in connection.execute(query)]


def one_try(connection: Connection, run_key: str, task_id: str, number: int) -> TryRecord | None:
    """Return one try, or None."""
    return next((one for one in tries(connection, run_key, task_id) if one.try_number == number), None)


def last_try(connection: Connection, run_key: str) -> TryRecord | None:
    """Return the try of a run that ended last, or None."""
    which = (task_try.c.run_key == run_key, task_try.c.ended_at.is_not(None))
    found = connection.execute(select(task_try.c.task_id, task_try.c.try_number).where(*which).order_by(task_try.c.ended_at.desc()).limit(1)).first()
    return one_try(connection, run_key, found.task_id, found.try_number) if found else None


def followed(connection: Connection, run_keys: Collection[str]) -> dict[tuple[str, str, int], str]:
    """Return {(run_key, task_id, try): sha of its version} of the tries of these runs that followed another version than their run's."""
    columns = (task_try.c.run_key, task_try.c.task_id, task_try.c.try_number, task_try.c.version)
    query = select(*columns).where(task_try.c.run_key.in_(list(run_keys)), task_try.c.version.is_not(None))
    return {(key, task_id, number): sha for key, task_id, number, sha in connection.execute(query)}


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


def _task(row: Sequence[Any]) -> TaskRecord:
    record = dict(zip(_TASK_FIELDS, row, strict=True))
    record["state"] = TaskState(record["state"])
    return TaskRecord(**record)


def _try(row: Sequence[Any]) -> TryRecord:
    """Return a try; `row` has its columns, and the state and the try number of its task instance."""
    record = dict(zip(_TRY_FIELDS, row, strict=False))
    state, late = TaskState(record["state"]), record["late"]
    if late and record["ended_at"] and state is not TaskState.LOST and late.get("execution") == record["execution_id"]:
        # The same end told twice, as a worker does that was not sure to be heard.
        record["late"] = None
    if state is TaskState.RUNNING and row[-1] == record["try_number"]:
        state = TaskState(row[-2])
    record["state"], record["facts"] = state, record["facts"] or {}
    return TryRecord(**record)
