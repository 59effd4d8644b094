"""Runs as lists and grids show them: without what was given at their trigger, a page at a time, of one DAG or the newest of many."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, String, and_, case, cast, func, or_, select
from sqlalchemy import true as always

from rqflow import clock
from rqflow.states import TERMINAL_RUN_STATES, RunState
from rqflow.store import deletions
from rqflow.store.engine import Connection
from rqflow.store.tables import dag, dag_run

_IS_THERE = deletions.not_buried(deletions.RUN, dag_run.c.run_key)
#: Unfinished runs of one DAG that are looked at when runs are asked for by their states.
MOST_OPEN = 5_000
#: How long before a run may have been made that fails, to be told of.
LONGEST_RUN = timedelta(days=30)
#: DAGs whose newest runs one question names.
MOST_DAGS = 200
_OPEN = [state.value for state in RunState if state not in TERMINAL_RUN_STATES]
_BY_VALUE = {state.value: state for state in RunState}


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
    #: The person who started it; None: a schedule, or an older release.
    started_by: str | None
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
    query = select(dag_run.c.run_key).where(dag_run.c.state.in_(_OPEN), _IS_THERE)
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


class Spot(NamedTuple):
    """A run as a square in a list of many DAGs. A tuple: 100 DAGs with 25 runs each have 2,500."""

    dag_id: str
    run_key: str
    state: RunState
    created_at: datetime | None


_SPOT = (dag_run.c.dag_id, dag_run.c.run_key, dag_run.c.state, dag_run.c.created_at)


def newest_of(connection: Connection, dag_ids: Sequence[str], limit: int) -> dict[str, list[Spot]]:
    """Return the `limit` runs of each of these DAGs that were made last, the newest first; at most MOST_DAGS DAGs."""
    found: dict[str, list[Spot]] = {dag_id: [] for dag_id in dag_ids}
    if not found:
        return found
    own = dag_run.c
    # First from when on, then what was made since: two walks along an index of as many steps as there are answers. Windows and joins go through all
    # runs that there ever were. The second one gives a row a DAG: a driver takes longer to read 5,000 rows than all else about them.
    oldest = select(own.created_at).where(own.dag_id == dag.c.dag_id).order_by(own.created_at.desc()).limit(1).offset(limit - 1).scalar_subquery()
    since = connection.execute(select(dag.c.dag_id, oldest).where(dag.c.dag_id.in_(list(dag_ids))))
    which = or_(*(and_(own.dag_id == dag_id, own.created_at >= (made or clock.EPOCH)) for dag_id, made in since))
    text = func.aggregate_strings(own.run_key.concat("|").concat(own.state).concat("|").concat(cast(own.created_at, String)), ",")
    for dag_id, told in connection.execute(select(own.dag_id, text).where(which, _IS_THERE).group_by(own.dag_id)):
        parts = (one.split("|") for one in told.split(","))
        spots = [Spot(dag_id, run_key, _BY_VALUE[state], _moment(made)) for run_key, state, made in parts]
        found[dag_id] = sorted(spots, key=lambda spot: (spot.created_at or clock.EPOCH, spot.run_key), reverse=True)[:limit]
    return found


def _moment(text: str) -> datetime | None:
    """Return the moment that a database wrote as text, in UTC."""
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=clock.UTC)
    return None if moment == clock.EPOCH else moment


def unfinished(connection: Connection) -> list[Spot]:
    """Return the runs that have not ended as far as the history knows, at most MOST_OPEN: those made last."""
    query = select(*_SPOT).where(dag_run.c.state.in_(_OPEN), _IS_THERE).order_by(dag_run.c.created_at.desc()).limit(MOST_OPEN)
    return [_spot(row) for row in connection.execute(query)]


@dataclass(frozen=True, slots=True)
class Record:
    """What became of the runs of a DAG: when the last one was made, and whether the last that ended well or badly, by that time, has failed."""

    last_made: datetime
    is_failing: bool


def records(connection: Connection) -> dict[str, Record]:
    """Return {dag_id: what became of its runs} of the DAGs that have any."""
    own = dag_run.c
    # Databases skip from state to state in an index for this: it takes no longer when there are more runs.
    newest = select(own.dag_id, own.state, func.max(own.created_at).label("made")).group_by(own.dag_id, own.state).subquery()
    bad, good = (func.max(case((newest.c.state == state.value, newest.c.made))) for state in (RunState.FAILED, RunState.SUCCESS))
    is_failing = case((and_(bad.is_not(None), or_(good.is_(None), bad > good)), 1), else_=0)
    query = select(newest.c.dag_id, func.max(newest.c.made), is_failing).group_by(newest.c.dag_id)
    return {dag_id: Record(made, bool(bad_end)) for dag_id, made, bad_end in connection.execute(query)}


def _spot(row: Sequence[Any]) -> Spot:
    dag_id, run_key, state, created_at = row
    return Spot(dag_id, run_key, _BY_VALUE[state], None if created_at == clock.EPOCH else created_at)


def failed_since(connection: Connection, since: datetime, limit: int) -> list[RunLine]:
    """Return up to `limit` runs that failed at or after `since`, the last first; those that were made more than LONGEST_RUN before are left out."""
    own = dag_run.c
    # The first two have an index, and so this reads no more than the failed runs of that time.
    query = select(*COLUMNS).where(own.state == RunState.FAILED.value, own.created_at >= since - LONGEST_RUN, own.ended_at >= since, _IS_THERE)
    return _lines(connection, query.order_by(own.ended_at.desc(), own.run_key).limit(limit))


@dataclass(frozen=True, kw_only=True, slots=True)
class Coming:
    """A run that a schedule will start."""

    dag_id: str
    due_at: datetime
    schedule: str | None
    timezone: str


def coming_until(connection: Connection, until: datetime, limit: int) -> list[Coming]:
    """Return when the next run of each DAG is due, of those where that is before `until`, at most `limit`: the first ones first."""
    own = dag.c
    query = select(own.dag_id, own.next_run_at, own.schedule, own.timezone).where(own.next_run_at < until, own.is_active, ~own.is_paused)
    rows = connection.execute(query.order_by(own.next_run_at, own.dag_id).limit(limit))
    return [Coming(dag_id=dag_id, due_at=due_at, schedule=schedule, timezone=zone) for dag_id, due_at, schedule, zone in rows]
