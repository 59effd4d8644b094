"""Task instances, XComs of any runs, a page of them and how many there are: for clients that page by number."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, select

from rqflow.states import TaskState
from rqflow.store import deletions
from rqflow.store.engine import Connection
from rqflow.store.run_pages import LOGICAL_DATE, Between, within
from rqflow.store.tables import dag_run, task_instance, task_try, xcom

_IS_THERE = deletions.not_buried(deletions.RUN, dag_run.c.run_key)
#: Moments of a task instance by which they are chosen, beside the logical date of their run.
STARTED_AT, ENDED_AT, UPDATED_AT = "started_at", "ended_at", "updated_at"


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskPage:
    """Which task instances, and which of these; what is None or not there does not matter."""

    dag_ids: Collection[str] | None = None
    run_ids: Collection[str] | None = None
    task_ids: Collection[str] | None = None
    states: Collection[TaskState] | None = None
    pools: Collection[str] | None = None
    queues: Collection[str] | None = None
    #: By run_pages.LOGICAL_DATE, STARTED_AT, ENDED_AT or UPDATED_AT.
    moments: Mapping[str, Between] = field(default_factory=dict)
    #: Seconds that they took, at least and at most.
    shortest: float | None = None
    longest: float | None = None
    offset: int = 0
    limit: int = 100


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task instance with what its run and its current or last try say."""

    run_key: str
    task_id: str
    state: TaskState
    try_number: int
    max_tries: int
    queue: str
    pool: str
    started_at: datetime | None
    ended_at: datetime | None
    dag_id: str
    run_id: str
    logical_date: datetime | None
    #: Of the run.
    version: str | None
    host: str | None
    pid: int | None

    @property
    def duration(self) -> float | None:
        """Seconds that it took; None: it has not ended."""
        return max((self.ended_at - self.started_at).total_seconds(), 0.0) if self.started_at and self.ended_at else None


_OWN = ("run_key", "task_id", "state", "try_number", "max_tries", "queue", "pool", "started_at", "ended_at")
_COLUMNS = [*(task_instance.c[name] for name in _OWN), dag_run.c.dag_id, dag_run.c.run_id, dag_run.c.logical_date, dag_run.c.version,
            task_try.c.host, task_try.c.pid]
_OF_RUN = task_instance.join(dag_run, dag_run.c.run_key == task_instance.c.run_key)
_WITH_TRY = _OF_RUN.outerjoin(task_try, and_(task_try.c.run_key == task_instance.c.run_key, task_try.c.task_id == task_instance.c.task_id,
                                             task_try.c.try_number == task_instance.c.try_number))
_ORDER = (dag_run.c.dag_id, dag_run.c.logical_date, dag_run.c.run_key, task_instance.c.task_index, task_instance.c.task_id)


def page(connection: Connection, wanted: TaskPage) -> tuple[list[TaskRow], int]:
    """Return the task instances of a page, by DAG, logical date and place in the run, and how many pass in all.

    A task to which nothing happened yet is in none.
    """
    conditions = [_IS_THERE, *_conditions(wanted)]
    query = select(*_COLUMNS).select_from(_WITH_TRY).where(*conditions).order_by(*_ORDER)
    if wanted.shortest is not None or wanted.longest is not None:
        # How long something took is told here: each database has its own way to subtract moments.
        found = [row for row in map(_row, connection.execute(query)) if _is_between(row.duration, wanted)]
        return found[wanted.offset:wanted.offset + wanted.limit], len(found)
    total = connection.execute(select(func.count()).select_from(_OF_RUN).where(*conditions)).scalar_one()
    return [_row(one) for one in connection.execute(query.limit(wanted.limit).offset(wanted.offset))], total


def _conditions(wanted: TaskPage) -> list[ColumnElement[bool]]:
    own = task_instance.c
    found: list[ColumnElement[bool]] = []
    for moment, between in wanted.moments.items():
        if moment == LOGICAL_DATE:
            found.append(within(moment, between))
        else:
            found += [own[moment] >= between.since] if between.since else []
            found += [own[moment] <= between.until] if between.until else []
    states = None if wanted.states is None else [state.value for state in wanted.states]
    sets = ((dag_run.c.dag_id, wanted.dag_ids), (dag_run.c.run_id, wanted.run_ids), (own.task_id, wanted.task_ids), (own.state, states),
            (own.pool, wanted.pools), (own.queue, wanted.queues))
    return found + [column.in_(list(values)) for column, values in sets if values is not None]


def _is_between(seconds: float | None, wanted: TaskPage) -> bool:
    if seconds is None:
        return False
    return (wanted.shortest is None or seconds >= wanted.shortest) and (wanted.longest is None or seconds <= wanted.longest)


def _row(row: Sequence[Any]) -> TaskRow:
    run_key, task_id, state, *rest = row
    return TaskRow(run_key, task_id, TaskState(state), *rest)


@dataclass(frozen=True, slots=True)
class XComRow:
    """Where an XCom is, and since when."""

    dag_id: str
    run_key: str
    logical_date: datetime | None
    task_id: str
    key: str
    updated_at: datetime


def xcoms(connection: Connection, *, dag_ids: Collection[str] | None = None, run_key: str | None = None, task_id: str | None = None,
          key: str | None = None, offset: int = 0, limit: int | None = None) -> tuple[list[XComRow], int]:
    """Return the XComs of a page, by logical date, task and name, and how many pass in all."""
    joined = xcom.join(dag_run, dag_run.c.run_key == xcom.c.run_key)
    conditions = [_IS_THERE, xcom.c.value.is_not(None)]
    if dag_ids is not None:
        conditions.append(dag_run.c.dag_id.in_(list(dag_ids)))
    for column, value in ((xcom.c.run_key, run_key), (xcom.c.task_id, task_id), (xcom.c.key, key)):
        conditions += [column == value] if value is not None else []
    total = connection.execute(select(func.count()).select_from(joined).where(*conditions)).scalar_one()
    columns = (dag_run.c.dag_id, dag_run.c.run_key, dag_run.c.logical_date, xcom.c.task_id, xcom.c.key, xcom.c.updated_at)
    query = select(*columns).select_from(joined).where(*conditions)
    query = query.order_by(dag_run.c.logical_date, xcom.c.task_id, dag_run.c.run_key, xcom.c.key).limit(limit).offset(offset)
    return [XComRow(*row) for row in connection.execute(query)], total
