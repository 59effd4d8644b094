"""Tasks that did not end in their sla."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select, update

from rqflow.dag.run import SCHEDULED
from rqflow.states import TERMINAL_RUN_STATES, RunState
from rqflow.store.engine import Connection
from rqflow.store.tables import dag_run, dag_version, sla_miss
from rqflow.store.upsert import Rule, upsert

_ONCE = Rule(table=sla_miss)
#: Keys that one question names.
_ASKED = 500
_OPEN = [state.value for state in RunState if state not in TERMINAL_RUN_STATES]


@dataclass(frozen=True, kw_only=True, slots=True)
class Miss:
    """A task that did not end in its sla; the columns of table sla_miss, and id and logical date of its run."""

    dag_id: str
    run_key: str
    run_id: str
    logical_date: datetime | None
    task_id: str
    due_at: datetime
    seen_at: datetime
    is_notified: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchedRun:
    """A scheduled run with tasks that have an sla."""

    run_key: str
    dag_id: str
    version: str
    data_interval_start: datetime
    data_interval_end: datetime
    created_at: datetime


def watched(connection: Connection, *, keys: Collection[str] = (), since: datetime) -> list[WatchedRun]:
    """Return the scheduled runs with an sla that have not ended, were made since then, or have one of these keys."""
    columns = [dag_run.c[name] for name in WatchedRun.__slots__]
    which: list[ColumnElement[bool]] = [dag_run.c.state.in_(_OPEN), dag_run.c.created_at >= since]
    if keys:
        which.append(dag_run.c.run_key.in_(list(keys)))
    query = select(*columns).join(dag_version, dag_version.c.version == dag_run.c.version)
    query = query.where(dag_version.c.has_sla, dag_run.c.run_type == SCHEDULED, or_(*which))
    return [WatchedRun(**row) for row in connection.execute(query).mappings()]


def is_used(connection: Connection) -> bool:
    """Tell whether any version has a task with an sla."""
    return connection.execute(select(dag_version.c.version).where(dag_version.c.has_sla).limit(1)).first() is not None


def missed(connection: Connection, run_key: str) -> dict[str, datetime]:
    """Return {task_id: when it should have ended} of the misses of a run."""
    query = select(sla_miss.c.task_id, sla_miss.c.due_at).where(sla_miss.c.run_key == run_key)
    return {task_id: moment for task_id, moment in connection.execute(query)}  # noqa: C416 (a row is no pair for mypy)


def counts(connection: Connection, run_keys: Sequence[str]) -> dict[str, int]:
    """Return {run_key: number of its misses} of those of these runs that have some."""
    found: dict[str, int] = {}
    for at in range(0, len(run_keys), _ASKED):
        which = sla_miss.c.run_key.in_(run_keys[at:at + _ASKED])
        query = select(sla_miss.c.run_key, func.count()).where(which).group_by(sla_miss.c.run_key)
        found.update((key, count) for key, count in connection.execute(query))
    return found


def due_at(connection: Connection, run_key: str, task_id: str) -> datetime | None:
    """Return when a task that missed its sla should have ended; None for any other."""
    query = select(sla_miss.c.due_at).where(sla_miss.c.run_key == run_key, sla_miss.c.task_id == task_id)
    found: datetime | None = connection.execute(query).scalar()
    return found


def record(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Write misses: run_key, task_id, dag_id, due_at, seen_at; one that is there already stays as it is."""
    upsert(connection, _ONCE, [{**row, "is_notified": False} for row in rows])


def search(connection: Connection, *, dag_id: str | None = None, dag_ids: Collection[str] | None = None, run_key: str | None = None,
           since: datetime | None = None, untold: bool = False, limit: int | None = None, offset: int = 0) -> list[Miss]:
    """Return the misses that pass, the one seen last first, without the first `offset` ones.

    `dag_ids`: only of these DAGs; `untold`: only those that mark_told was not called for.
    """
    columns = [sla_miss.c[name] for name in Miss.__slots__ if name in sla_miss.c]
    query = select(*columns, dag_run.c.run_id, dag_run.c.logical_date).join(dag_run, dag_run.c.run_key == sla_miss.c.run_key)
    if dag_id is not None:
        query = query.where(sla_miss.c.dag_id == dag_id)
    if dag_ids is not None:
        query = query.where(sla_miss.c.dag_id.in_(list(dag_ids)))
    if run_key is not None:
        query = query.where(sla_miss.c.run_key == run_key)
    if since is not None:
        query = query.where(sla_miss.c.seen_at >= since)
    if untold:
        query = query.where(~sla_miss.c.is_notified)
    query = query.order_by(sla_miss.c.seen_at.desc(), sla_miss.c.run_key, sla_miss.c.task_id)
    return [Miss(**row) for row in connection.execute(query.limit(limit).offset(offset or None)).mappings()]


def mark_told(connection: Connection, misses: Sequence[Miss]) -> None:
    """Note that whoever must be told of these misses was."""
    for one in misses:
        connection.execute(update(sla_miss).where(sla_miss.c.run_key == one.run_key, sla_miss.c.task_id == one.task_id).values(is_notified=True))
