"""Runs as lists and grids show them: without what was given at their trigger, a page at a time, of one DAG or the newest of many."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy import true as always

from rqflow import clock
from rqflow.states import TERMINAL_RUN_STATES, RunState
from rqflow.store import deletions
from rqflow.store.engine import Connection
from rqflow.store.tables import dag_run

_IS_THERE = deletions.not_buried(deletions.RUN, dag_run.c.run_key)
#: Unfinished runs of one DAG that are looked at when runs are asked for by their states.
MOST_OPEN = 5_000


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLine:
    """A run in one line; columns of table dag_run."""

    run_key: str
    dag_id: str
    run_id: str
    #: None, like version and dates, while only events have told of this run.
    run_type: str | None
    version: str | None
    logical_date: datetime | None
    data_interval_end: datetime | None
    backfill_id: int | None
    state: RunState
    #: Order of the event that gave the state, microseconds.
    seq: int
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def is_finished(self) -> bool:
        """Whether the run has ended, as the history knows."""
        return self.state in TERMINAL_RUN_STATES


_FIELDS = RunLine.__slots__
COLUMNS = [dag_run.c[name] for name in _FIELDS]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which runs of a DAG, or of all; what is None does not matter."""

    dag_id: str | None = None
    run_types: Collection[str] | None = None
    states: Collection[RunState] | None = None
    #: Keys of runs that are in one of `states` although the history does not know it yet, and of those that are not any more.
    also: Collection[str] = ()
    but: Collection[str] = ()

    def condition(self) -> ColumnElement[bool]:
        """Return it as SQL."""
        column = dag_run.c
        found: list[ColumnElement[bool]] = [always()]
        if self.dag_id is not None:
            found.append(column.dag_id == self.dag_id)
        if self.run_types is not None:
            found.append(column.run_type.in_(list(self.run_types)))
        if self.states is not None:
            of_state = column.state.in_([state.value for state in self.states])
            found.append(or_(of_state, column.run_key.in_(list(self.also))) if self.also else of_state)
            if self.but:
                found.append(column.run_key.not_in(list(self.but)))
        return and_(*found)


def page(connection: Connection, wanted: Wanted, *, limit: int, anchor: RunLine | None = None, newer: bool = False) -> list[RunLine]:
    """Return up to `limit` runs, the one made last first: those made before `anchor` (with `newer`: those made next after it), or the newest."""
    column = dag_run.c
    query = select(*COLUMNS).where(_IS_THERE, wanted.condition())
    order: tuple[Any, ...] = (column.created_at.desc(), column.run_key)
    if anchor is not None:
        made = anchor.created_at or clock.EPOCH
        # The first condition alone would do for an index, and the second says what is meant.
        if newer:
            query = query.where(column.created_at >= made, or_(column.created_at > made, column.run_key < anchor.run_key))
            order = (column.created_at, column.run_key.desc())
        else:
            query = query.where(column.created_at <= made, or_(column.created_at < made, column.run_key > anchor.run_key))
    found = _lines(connection, query.order_by(*order).limit(limit))
    return found[::-1] if newer else found


def by_keys(connection: Connection, run_keys: Collection[str]) -> list[RunLine]:
    """Return those of these runs that there are, in any order."""
    return _lines(connection, select(*COLUMNS).where(dag_run.c.run_key.in_(list(run_keys)), _IS_THERE)) if run_keys else []


def unfinished_keys(connection: Connection, dag_id: str | None = None) -> list[str]:
    """Return the keys of the runs, of one DAG or of all, that have not ended as far as the history knows, at most MOST_OPEN: those made last."""
    open_states = [state.value for state in RunState if state not in TERMINAL_RUN_STATES]
    query = select(dag_run.c.run_key).where(dag_run.c.state.in_(open_states), _IS_THERE)
    query = query if dag_id is None else query.where(dag_run.c.dag_id == dag_id)
    return list(connection.execute(query.order_by(dag_run.c.created_at.desc()).limit(MOST_OPEN)).scalars())


def _lines(connection: Connection, query: Select[Any]) -> list[RunLine]:
    return [line(row) for row in connection.execute(query)]


def line(row: Sequence[Any]) -> RunLine:
    """Return the run of which a row has COLUMNS: for this room."""
    record = dict(zip(_FIELDS, row, strict=False))
    record["state"] = RunState(record["state"])
    if record["created_at"] == clock.EPOCH:
        record["created_at"] = None
    return RunLine(**record)
