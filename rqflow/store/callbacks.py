"""Calls of authors' functions: written down with the event that they are about, given to a worker by the leading scheduler, ended by its word."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, and_, delete, func, or_, select, update

from rqflow.states import CallbackState
from rqflow.store.conventions import LINE
from rqflow.store.engine import Connection
from rqflow.store.tables import callback
from rqflow.store.types import clean
from rqflow.store.upsert import Rule, upsert

#: What a later event says of the same try stays, as a lost try that gets another one; how far the call is does not change by that.
_NEWEST = Rule(table=callback, order=("seq",), fixed=frozenset({"state", "worker", "sends", "reason", "output", "started_at", "ended_at"}))
#: The condition that a call is still to be made, or told of.
IS_OPEN = or_(callback.c.state == CallbackState.WAITING.value, callback.c.state == CallbackState.SENT.value)
_BLANK: dict[str, Any] = {
    "state": CallbackState.WAITING.value, "worker": "", "sends": 0, "reason": "", "output": "", "started_at": None, "ended_at": None,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Callback:
    """The call of the functions of one kind; the columns of table callback."""

    callback_id: str
    kind: str
    dag_id: str
    run_key: str
    task_id: str
    try_number: int
    seq: int
    version: str | None
    detail: str
    state: CallbackState
    worker: str
    sends: int
    reason: str
    output: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


def note(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write calls to be made: callback_id, kind, dag_id, run_key, task_id, try_number, seq, version, detail, created_at. Safe to repeat."""
    upsert(connection, _NEWEST, [{**row, **_BLANK} for row in rows])


def open_calls(connection: Connection, limit: int, *, after: Callback | None = None) -> list[Callback]:
    """Return calls that are still to be made or told of, oldest first; those that follow `after` when one is given."""
    query = select(callback).where(IS_OPEN).order_by(callback.c.seq, callback.c.callback_id).limit(limit)
    if after is not None:
        same = and_(callback.c.seq == after.seq, callback.c.callback_id > after.callback_id)
        query = query.where(or_(callback.c.seq > after.seq, same))
    return [_record(row) for row in connection.execute(query).mappings()]


def count_open(connection: Connection, since: datetime) -> int:
    """Return how many calls of what happened since then are to be made or told of."""
    query = select(func.count()).select_from(callback).where(IS_OPEN, callback.c.created_at >= since)
    return int(connection.execute(query).scalar_one())


def forget(connection: Connection, ids: Collection[str]) -> None:
    """Remove calls that there is no function for."""
    connection.execute(delete(callback).where(callback.c.callback_id.in_(list(ids)), callback.c.state == CallbackState.WAITING.value))


def send(connection: Connection, callback_id: str, worker: str) -> bool:
    """Say that a call which waits is given to a worker; False when it waits no more."""
    which = (callback.c.callback_id == callback_id, callback.c.state == CallbackState.WAITING.value)
    query = update(callback).where(*which).values(state=CallbackState.SENT.value, worker=worker, sends=callback.c.sends + 1, reason="")
    return connection.execute(query).rowcount == 1


def wait(connection: Connection, callback_id: str, reason: str) -> None:
    """Say that a call which has not ended waits for a worker, and why."""
    which = (callback.c.callback_id == callback_id, IS_OPEN)
    connection.execute(update(callback).where(*which).values(state=CallbackState.WAITING.value, reason=clean(reason, LINE)))


def end(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write how calls ended, as workers tell it: callback_id, state, worker, reason, output, started_at, ended_at. The first word counts."""
    for row in sorted(rows, key=lambda row: str(row["callback_id"])):
        which = (callback.c.callback_id == row["callback_id"], IS_OPEN)
        connection.execute(update(callback).where(*which).values({name: value for name, value in row.items() if name != "callback_id"}))


def of_run(connection: Connection, run_key: str, task_id: str | None = None) -> list[Callback]:
    """Return the calls about a run and its tasks, or about one task, in the order of what they are about."""
    query = select(callback).where(callback.c.run_key == run_key).order_by(callback.c.seq, callback.c.callback_id)
    if task_id is not None:
        query = query.where(callback.c.task_id == task_id)
    return [_record(row) for row in connection.execute(query).mappings()]


def _record(row: RowMapping) -> Callback:
    return Callback(**{name: row[name] for name in Callback.__slots__} | {"state": CallbackState(row["state"])})
