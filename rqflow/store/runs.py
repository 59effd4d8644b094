"""DAG runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, bindparam, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from rqflow import clock
from rqflow.dag.run import AS_IT_IS, BACKFILL, SCHEDULED, RunInfo, RunOptions
from rqflow.exceptions import Conflict, RunNotFound, UsageError
from rqflow.states import TERMINAL_RUN_STATES, TERMINAL_STATES, RunState, TaskState
from rqflow.store import deletions
from rqflow.store.engine import Connection
from rqflow.store.tables import dag_run, dag_version, task_instance
from rqflow.store.types import ID_LENGTH, clean
from rqflow.store.upsert import Rule, upsert

_STATES = Rule(table=dag_run, order=("seq",), fixed=frozenset({"dag_id", "run_id", "priority", "note", "created_at"}))
#: Asked with each batch of events, so it is built once.
_KNOWN = select(dag_run.c.run_key, dag_version.c.tells_success, dag_version.c.callbacks).outerjoin(
    dag_version, dag_version.c.version == dag_run.c.version).where(dag_run.c.run_key.in_(bindparam("keys", expanding=True)))
_IS_THERE = deletions.not_buried(deletions.RUN, dag_run.c.run_key)
#: Sorts after every character that an id may have.
_LAST = "\U0010ffff"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """A run as the database knows it; the columns of table dag_run."""

    run_key: str
    dag_id: str
    run_id: str
    #: None, like version, dates and values below, while only events have told of this run.
    run_type: str | None
    version: str | None
    logical_date: datetime | None
    data_interval_start: datetime | None
    data_interval_end: datetime | None
    conf: Mapping[str, Any]
    params: Mapping[str, Any]
    priority: int
    note: str
    ignores_past: bool
    options: RunOptions
    #: The backfill that made it or ran it again last, and the seq after which it did the latter.
    backfill_id: int | None
    rerun_after: int | None
    #: Who started it, by hand or by a backfill; None: its schedule did, or nobody knows.
    started_by: str | None
    state: RunState
    seq: int
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def is_finished(self) -> bool:
        """Whether the run has ended."""
        return self.state in TERMINAL_RUN_STATES

    @property
    def info(self) -> RunInfo | None:
        """The run as its trigger described it; None while only events have told of it."""
        dates = (self.logical_date, self.data_interval_start, self.data_interval_end)
        if self.run_type is None or self.version is None or None in dates:
            return None
        plain = {name: getattr(self, name) for name in RunInfo.__slots__ if name != "previous"}
        return RunInfo(**plain)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFilter:
    """Which runs to list; what is None does not matter."""

    dag_id: str | None = None
    states: Collection[RunState] | None = None
    #: Made at or after, and before.
    since: datetime | None = None
    until: datetime | None = None
    #: manual, scheduled or backfill.
    run_type: str | None = None
    #: Made of the version of this sha.
    version: str | None = None
    #: Only those of these DAGs.
    dag_ids: Collection[str] | None = None


def create(connection: Connection, run: RunInfo, *, state: RunState = RunState.QUEUED, started_by: str | None = None) -> bool:
    """Write the row of a new run; False when the DAG has a run of this id, or, for one of a schedule or a backfill, such a one of this logical date.

    A run that only events have told of gets what `run` says; that is False too, because it exists already. Safe to repeat. Raises Conflict
    while a run of this id is being deleted (a scheduled one counts as there), and for a DAG that was.
    """
    if not deletions.lift_run(connection, run.key):
        if run.run_type in {SCHEDULED, BACKFILL}:
            return False
        raise Conflict(f"run {run.run_id} of {run.dag_id} is being deleted", hint="Give another --run-id, or wait until that is done.")
    if deletions.is_deleted(connection, run.dag_id):
        raise Conflict(f"{run.dag_id} was deleted", hint="`rqflow submit FILE` brings it back.")
    facts = {
        "run_type": run.run_type, "version": run.version, "logical_date": run.logical_date,
        "data_interval_start": run.data_interval_start, "data_interval_end": run.data_interval_end, "conf": dict(run.conf),
        "params": dict(run.params), "priority": run.priority, "note": run.note, "ignores_past": run.ignores_past,
        "created_at": run.created_at or clock.utcnow(),
        "tick": run.logical_date if run.run_type in {SCHEDULED, BACKFILL} else None,
        "options": None if run.options == AS_IT_IS else asdict(run.options), "backfill_id": run.backfill_id,
        "started_by": None if started_by is None else clean(started_by, ID_LENGTH),
    }
    row = {"run_key": run.key, "dag_id": run.dag_id, "run_id": run.run_id, **facts, "state": state.value, "seq": 0}
    try:
        with connection.begin_nested():
            connection.execute(insert(dag_run).values(row))
    except IntegrityError:
        known = or_(dag_run.c.run_key == run.key, (dag_run.c.dag_id == run.dag_id) & (dag_run.c.tick == facts["tick"]))
        if connection.execute(select(dag_run.c.run_key).where(known)).first() is None:
            raise
        connection.execute(update(dag_run).where(dag_run.c.run_key == run.key, dag_run.c.version.is_(None)).values(facts))
        return False
    return True


def get(connection: Connection, dag_id: str, run_id: str) -> RunRecord | None:
    """Return the run, or None."""
    return _first(connection, select(dag_run).where(dag_run.c.dag_id == dag_id, dag_run.c.run_id == run_id))


def by_key(connection: Connection, run_key: str) -> RunRecord | None:
    """Return the run of this key (dag.run.run_key), or None."""
    return _first(connection, select(dag_run).where(dag_run.c.run_key == run_key))


def find(connection: Connection, text: str, *, dag_id: str | None = None, among: Collection[str] | None = None) -> RunRecord:
    """Return the run whose run_id, or run key, is `text`, else the only one whose run_id begins with it, `among` those of these DAGs.

    Raises RunNotFound, or UsageError naming some when there are several.
    """
    scope = select(dag_run).where(_IS_THERE)
    scope = scope if dag_id is None else scope.where(dag_run.c.dag_id == dag_id)
    scope = scope if among is None else scope.where(dag_run.c.dag_id.in_(among))
    exact = scope.where(or_(dag_run.c.run_id == text, dag_run.c.run_key == text))
    begins = scope.where(dag_run.c.run_id >= text, dag_run.c.run_id < text + _LAST)
    for query in (exact, begins):
        rows = connection.execute(query.order_by(dag_run.c.created_at.desc()).limit(4)).mappings().all() if text else []
        if len(rows) > 1:
            names = ", ".join(f"{row['run_id']} of DAG {row['dag_id']}" for row in rows[:3])
            raise UsageError(f"{text} is not one run: {names}{' …' if len(rows) > 3 else ''}", hint="Give the whole run id, or name the DAG too.")
        if rows:
            return _record(rows[0])
    of_dag = f" of DAG {dag_id}" if dag_id is not None else ""
    raise RunNotFound(f"there is no run {text}{of_dag}", hint="`rqflow run list` shows the runs.")


def latest(connection: Connection, dag_id: str, *, states: Collection[RunState] | None = None) -> RunRecord | None:
    """Return the run of the DAG that was made last, of those in `states` where they are given, or None."""
    return next(iter(search(connection, RunFilter(dag_id=dag_id, states=states), limit=1)), None)


def newest_states(connection: Connection) -> dict[str, RunState]:
    """Return {dag_id: state of the run that was made last} of the DAGs that have runs."""
    newest = select(dag_run.c.dag_id, func.max(dag_run.c.created_at).label("made")).where(_IS_THERE).group_by(dag_run.c.dag_id).subquery()
    query = select(dag_run.c.dag_id, dag_run.c.state).join(newest, (dag_run.c.dag_id == newest.c.dag_id) & (dag_run.c.created_at == newest.c.made))
    return {row.dag_id: RunState(row.state) for row in connection.execute(query.where(_IS_THERE))}


def last_failed(connection: Connection, dag_id: str) -> RunRecord | None:
    """Return the failed run of the DAG that was made last, or None."""
    return latest(connection, dag_id, states={RunState.FAILED})


def at(connection: Connection, dag_id: str, logical_date: datetime) -> RunRecord | None:
    """Return the run of the DAG for this logical date, the one made last where there are several, or None."""
    query = select(dag_run).where(dag_run.c.dag_id == dag_id, dag_run.c.logical_date == logical_date, _IS_THERE)
    return _first(connection, query.order_by(dag_run.c.created_at.desc()))


def previous(
    connection: Connection, dag_id: str, before: datetime, *, states: Collection[RunState] | None = None, types: Collection[str] | None = None,
) -> RunRecord | None:
    """Return the run of the DAG with the latest logical date before `before`, of those in `states` and of the run `types` where they are given."""
    query = select(dag_run).where(dag_run.c.dag_id == dag_id, dag_run.c.logical_date < before, _IS_THERE)
    if states is not None:
        query = query.where(dag_run.c.state.in_([state.value for state in states]))
    if types is not None:
        query = query.where(dag_run.c.run_type.in_(types))
    return _first(connection, query.order_by(dag_run.c.logical_date.desc(), dag_run.c.created_at.desc()))


def search(connection: Connection, wanted: RunFilter | None = None, *, limit: int | None = None, after: RunRecord | None = None) -> list[RunRecord]:
    """Return the runs that pass, the one made last first; with `after` those that follow it in that order."""
    wanted = wanted or RunFilter()
    columns = dag_run.c
    query = select(dag_run).where(_IS_THERE).order_by(columns.created_at.desc(), columns.run_key).limit(limit)
    if wanted.dag_id is not None:
        query = query.where(columns.dag_id == wanted.dag_id)
    if wanted.states is not None:
        query = query.where(columns.state.in_([state.value for state in wanted.states]))
    if wanted.run_type is not None:
        query = query.where(columns.run_type == wanted.run_type)
    if wanted.since is not None:
        query = query.where(columns.created_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(columns.created_at < wanted.until)
    if wanted.version is not None:
        query = query.where(columns.version == wanted.version)
    if wanted.dag_ids is not None:
        query = query.where(columns.dag_id.in_(list(wanted.dag_ids)))
    if after is not None:
        same = (columns.created_at == after.created_at) & (columns.run_key > after.run_key)
        query = query.where(or_(columns.created_at < after.created_at, same))
    return [_record(row) for row in connection.execute(query).mappings()]


def count(connection: Connection, dag_id: str) -> int:
    """Return how many runs the DAG has."""
    return connection.execute(select(func.count()).select_from(dag_run).where(dag_run.c.dag_id == dag_id, _IS_THERE)).scalar_one()


def set_note(connection: Connection, run_key: str, note: str) -> None:
    """Put a remark in the place of the one that the run has."""
    connection.execute(update(dag_run).where(dag_run.c.run_key == run_key).values(note=note))


def matching(connection: Connection, *conditions: ColumnElement[bool], order: Sequence[Any] = (dag_run.c.logical_date, dag_run.c.run_key),
             limit: int | None = None, offset: int | None = None) -> list[RunRecord]:
    """Return the runs for which all conditions hold, by logical date or in another order: for this room."""
    query = select(dag_run).where(_IS_THERE, *conditions).order_by(*order).limit(limit).offset(offset)
    return [_record(row) for row in connection.execute(query).mappings()]


def half_recorded(connection: Connection, since: datetime) -> list[str]:
    """Return the keys of the runs that ended at or after `since` although a task of theirs has not: what told of its end was not recorded."""
    open_states = [state.value for state in TaskState if state not in TERMINAL_STATES]
    query = select(dag_run.c.run_key).join(task_instance, task_instance.c.run_key == dag_run.c.run_key).distinct()
    query = query.where(task_instance.c.state.in_(open_states), dag_run.c.state.in_([state.value for state in TERMINAL_RUN_STATES]))
    return list(connection.execute(query.where(dag_run.c.ended_at >= since)).scalars())


def ended_since(connection: Connection, since: datetime) -> dict[str, tuple[str, int]]:
    """Return {run_key: (version, number of its task instances that have a row)} of the runs that ended at or after `since`."""
    counted = func.count(task_instance.c.task_id)
    query = select(dag_run.c.run_key, dag_run.c.version, counted).outerjoin(task_instance, task_instance.c.run_key == dag_run.c.run_key)
    query = query.where(dag_run.c.ended_at >= since, dag_run.c.version.is_not(None)).group_by(dag_run.c.run_key, dag_run.c.version)
    return {key: (version, number) for key, version, number in connection.execute(query)}


def record_states(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write states as events tell them: run_key, dag_id, run_id, state, seq, started_at, ended_at. An older seq changes nothing.

    A run without a row gets one with nothing but that; `create` fills it in.
    """
    upsert(connection, _STATES, [_as_row(row) for row in rows])


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the versions of some runs want to be done about what happens to them."""

    #: Keys of the runs of which somebody wants to be told when a task is a success.
    tell_success: frozenset[str] = frozenset()
    #: {run_key: kinds of callbacks that the version has, or its tasks}.
    callbacks: Mapping[str, frozenset[str]] = field(default_factory=dict)


def record_unknown(connection: Connection, runs: Mapping[str, tuple[str, str]]) -> Wishes:
    """Write a row for each of `runs` ({run_key: (dag_id, run_id)}) that has none, so that what events tell of it is found.

    Return what their versions want.
    """
    known = {key: (bool(tells), kinds) for key, tells, kinds in connection.execute(_KNOWN, {"keys": list(runs)})}
    running = {"state": RunState.RUNNING.value, "seq": 0, "started_at": None, "ended_at": None}
    missing = [{"run_key": key, "dag_id": dag_id, "run_id": run_id, **running} for key, (dag_id, run_id) in runs.items() if key not in known]
    record_states(connection, missing)
    return Wishes(frozenset(key for key, (tells, _) in known.items() if tells),
                  {key: frozenset(kinds.split()) for key, (_, kinds) in known.items() if kinds})


def _as_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "priority": 0, "note": "", "created_at": clock.EPOCH}


def _first(connection: Connection, query: Select[Any]) -> RunRecord | None:
    row = connection.execute(query.limit(1)).mappings().first()
    return _record(row) if row else None


def _record(row: RowMapping) -> RunRecord:
    plain = {name: row[name] for name in RunRecord.__slots__}
    created_at = None if row["created_at"] == clock.EPOCH else row["created_at"]
    read = {"state": RunState(row["state"]), "conf": row["conf"] or {}, "params": row["params"] or {}, "created_at": created_at,
            "ignores_past": bool(row["ignores_past"]), "options": RunOptions(**(row["options"] or {}))}
    return RunRecord(**{**plain, **read})
