"""Runs by any date of theirs, in any order, from any place on, and how many there are: for clients that page by number."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, UnaryExpression, and_, case, func, select

from rqflow import clock
from rqflow.states import RunState
from rqflow.store import deletions, runs
from rqflow.store.engine import Connection
from rqflow.store.runs import RunRecord
from rqflow.store.tables import dag_run

_IS_THERE = deletions.not_buried(deletions.RUN, dag_run.c.run_key)
#: Moments of a run by which they are chosen, and put in order; `changed_at` is when its state was last told.
LOGICAL_DATE, STARTED_AT, ENDED_AT, CHANGED_AT = "logical_date", "started_at", "ended_at", "changed_at"
#: What else orders them.
CREATED_AT, STATE, DAG_ID, RUN_ID, RUN_TYPE = "created_at", "state", "dag_id", "run_id", "run_type"


@dataclass(frozen=True, kw_only=True, slots=True)
class Between:
    """Moments from one to another, both included; None: open."""

    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPage:
    """Which runs, in which order, and which of these; what is None or not there does not matter."""

    dag_ids: Collection[str] | None = None
    states: Collection[RunState] | None = None
    #: By LOGICAL_DATE, STARTED_AT, ENDED_AT or CHANGED_AT.
    moments: Mapping[str, Between] = field(default_factory=dict)
    order: str = CREATED_AT
    descends: bool = False
    offset: int = 0
    limit: int = 100


def page(connection: Connection, wanted: RunPage) -> tuple[list[RunRecord], int]:
    """Return the runs of a page, and how many pass in all."""
    conditions = [_IS_THERE, *_conditions(wanted)]
    total = connection.execute(select(func.count()).select_from(dag_run).where(*conditions)).scalar_one()
    found = runs.matching(connection, *conditions, order=_order(wanted), limit=wanted.limit, offset=wanted.offset)
    return found, total


def within(moment: str, between: Between) -> ColumnElement[bool]:
    """Return the condition that a moment of a run lies between two."""
    column: Any = dag_run.c.seq if moment == CHANGED_AT else dag_run.c[moment]
    value = clock.to_micros if moment == CHANGED_AT else (lambda given: given)
    ends = [column >= value(between.since)] if between.since else []
    ends += [column <= value(between.until)] if between.until else []
    return and_(True, *ends)


def _conditions(wanted: RunPage) -> list[ColumnElement[bool]]:
    found = [within(moment, between) for moment, between in wanted.moments.items()]
    if wanted.dag_ids is not None:
        found.append(dag_run.c.dag_id.in_(list(wanted.dag_ids)))
    if wanted.states is not None:
        found.append(dag_run.c.state.in_([state.value for state in wanted.states]))
    return found


def _order(wanted: RunPage) -> tuple[ColumnElement[Any] | UnaryExpression[Any], ...]:
    column: Any = dag_run.c.seq if wanted.order == CHANGED_AT else dag_run.c[wanted.order]
    # Databases differ in where they put what is not known: it stands last everywhere.
    unknown = case((column.is_(None), 1), else_=0)
    return unknown, (column.desc() if wanted.descends else column), dag_run.c.run_key
