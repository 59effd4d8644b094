"""Making the history smaller: which finished runs may go, and their removal in transactions of few rows, so that nobody waits for locks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, delete, func, or_, select

from rqflow import clock
from rqflow.states import TERMINAL_RUN_STATES
from rqflow.store.conventions import metadata
from rqflow.store.engine import Connection
from rqflow.store.machine_tables import worker
from rqflow.store.tables import (
    callback,
    dag,
    dag_run,
    dag_version,
    event_log,
    notice,
    notice_delivery,
    notice_message,
    sla_miss,
    task_instance,
    task_try,
    xcom,
)

#: What can be cleaned: runs with all that belongs to them, events of no run, versions that nothing needs, workers that are gone, messages that
#: were sent or given up.
TABLES = (dag_run.name, event_log.name, dag_version.name, worker.name, notice_message.name)
#: Rows that one transaction removes, more or less.
ROWS = 1000
#: Tables with the rows of a run, and the column in whose order they go.
_PARTS = ((event_log, event_log.c.seq), (xcom, xcom.c.task_id), (task_try, task_try.c.task_id), (sla_miss, sla_miss.c.task_id),
          (callback, callback.c.callback_id),
          (notice_delivery, notice_delivery.c.notice_key), (notice, notice.c.notice_key), (task_instance, task_instance.c.task_id))
#: Tables with rows of DAGs, beside those that are removed in an order of their own, or stay.
_OF_DAGS = tuple(table for table in metadata.sorted_tables
                 if "dag_id" in table.c and table.name not in {"dag", "dag_run", "dag_version", "deletion", "event_log"})
_ENDED = [state.value for state in TERMINAL_RUN_STATES]
#: Keys that one question names.
_ASKED = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class OldRun:
    """A run that may go, with what tells where its logs are."""

    run_key: str
    dag_id: str
    run_type: str | None
    logical_date: datetime | None


def old_runs(connection: Connection, before: datetime, keep_last: int, live: Collection[str] = ()) -> list[OldRun]:
    """Return the runs that ended before `before`, oldest first.

    Kept are the newest `keep_last` of each DAG (at least one), its newest scheduled one, from which its schedule goes on, and those of
    the keys `live`, which Redis still has.
    """
    ranked = select(
        dag_run.c.run_key, dag_run.c.dag_id, dag_run.c.run_type, dag_run.c.logical_date, dag_run.c.state, dag_run.c.ended_at, dag_run.c.tick,
        func.row_number().over(partition_by=dag_run.c.dag_id, order_by=(dag_run.c.created_at.desc(), dag_run.c.run_key)).label("place"),
        func.max(dag_run.c.tick).over(partition_by=dag_run.c.dag_id).label("newest"),
    ).subquery()
    old = (ranked.c.state.in_(_ENDED), ranked.c.ended_at < before, ranked.c.place > max(keep_last, 1),
           or_(ranked.c.tick.is_(None), ranked.c.tick < ranked.c.newest))
    query = select(ranked.c.run_key, ranked.c.dag_id, ranked.c.run_type, ranked.c.logical_date).where(*old).order_by(ranked.c.ended_at)
    kept = set(live)
    return [OldRun(**row) for row in connection.execute(query).mappings() if row["run_key"] not in kept]


def count_rows(connection: Connection, run_keys: Sequence[str]) -> Counter[str]:
    """Return how many rows of each table belong to these runs."""
    counted: Counter[str] = Counter({dag_run.name: len(run_keys)} if run_keys else {})
    for at in range(0, len(run_keys), _ASKED):
        for table, _ in _PARTS:
            query = select(func.count()).select_from(table).where(table.c.run_key.in_(run_keys[at:at + _ASKED]))
            counted[table.name] += connection.execute(query).scalar_one()
    return counted


def task_ids(connection: Connection, run_key: str) -> list[str]:
    """Return the tasks of a run of which a try began, and which so may have logs."""
    return list(connection.execute(select(task_try.c.task_id).where(task_try.c.run_key == run_key).distinct()).scalars())


def remove_runs(connection: Connection, run_keys: Sequence[str], before: datetime, limit: int = ROWS) -> tuple[int, Counter[str]]:
    """Remove the first of these runs until about `limit` rows are gone; return how many runs are done with, and the rows by table.

    A run that is no longer over, because somebody has cleared it meanwhile, stays. The rest of a run that has more rows goes the next time.
    """
    removed: Counter[str] = Counter()
    for done, run_key in enumerate(run_keys):
        if removed.total() >= limit or not _remove_run(connection, run_key, before, limit, removed):
            return done, removed
    return len(run_keys), removed


def _remove_run(connection: Connection, run_key: str, before: datetime, limit: int, removed: Counter[str]) -> bool:
    """Remove rows of a run, its own one last; tell whether nothing is left to be done for it."""
    own = and_(dag_run.c.run_key == run_key, dag_run.c.state.in_(_ENDED), dag_run.c.ended_at < before)
    if connection.execute(select(dag_run.c.run_key).where(own).with_for_update()).first() is None:
        return True
    for table, column in _PARTS:
        if not _remove_rows(connection, table, column, table.c.run_key == run_key, limit - removed.total(), removed):
            return False
    removed[dag_run.name] += connection.execute(delete(dag_run).where(own)).rowcount
    return True


def remove_whole_run(connection: Connection, run_key: str, limit: int = ROWS) -> bool:
    """Remove about `limit` rows of a run in whatever state, its own one last; tell whether nothing of it is left."""
    removed: Counter[str] = Counter()
    for table, column in _PARTS:
        if not _remove_rows(connection, table, column, table.c.run_key == run_key, limit - removed.total(), removed):
            return False
    connection.execute(delete(dag_run).where(dag_run.c.run_key == run_key))
    return True


def remove_rest_of(connection: Connection, dag_id: str, limit: int = ROWS) -> bool:
    """Remove about `limit` rows that tell of a DAG whose runs are gone, what people did to it excepted; tell whether nothing is left."""
    removed: Counter[str] = Counter()
    which = and_(event_log.c.dag_id == dag_id, event_log.c.kind != "audit")
    if not _remove_rows(connection, event_log, event_log.c.seq, which, limit, removed):
        return False
    for table in _OF_DAGS:
        first = next(iter(table.primary_key.columns))
        if not _remove_rows(connection, table, first, table.c.dag_id == dag_id, limit - removed.total(), removed):
            return False
    return True


def remove_versions_of(connection: Connection, dag_id: str, limit: int) -> bool:
    """Remove about `limit` versions of a DAG; tell whether nothing is left of them."""
    return _remove_rows(connection, dag_version, dag_version.c.version, dag_version.c.dag_id == dag_id, limit, Counter())


def _remove_rows(connection: Connection, table: Table, column: ColumnElement[Any], which: ColumnElement[bool], limit: int,
                 removed: Counter[str]) -> bool:
    """Remove about `limit` of the rows `which`, the first by `column`; tell whether that were all.

    By the range of an index, never by a list of keys, which MariaDB would look for row by row.
    """
    edge = connection.execute(select(column).where(which).order_by(column).offset(max(limit, 0)).limit(1)).scalar()
    wanted = which if edge is None else and_(which, column <= edge)
    removed[table.name] += connection.execute(delete(table).where(wanted)).rowcount
    return edge is None


def count_rest(connection: Connection, tables: Collection[str], before: datetime, versions_in_use: Collection[str]) -> Counter[str]:
    """Return how many rows of `tables` belong to no run and are older than `before`."""
    counted: Counter[str] = Counter()
    for table, which in _rest(before):
        if table.name in tables:
            counted[table.name] += connection.execute(select(func.count()).select_from(table).where(which)).scalar_one()
    if dag_version.name in tables:
        counted[dag_version.name] += len(old_versions(connection, before, versions_in_use))
    return counted


def remove_rest(connection: Connection, tables: Collection[str], before: datetime, limit: int = ROWS) -> Counter[str]:
    """Remove about `limit` rows of events, workers and messages that belong to no run and are older than `before`; nothing: there are no more."""
    removed: Counter[str] = Counter()
    for table, which in _rest(before):
        if table.name in tables:
            column: ColumnElement[Any] = event_log.c.seq if table is event_log else next(iter(table.primary_key.columns))
            if not _remove_rows(connection, table, column, which, limit, removed):
                break
    return removed


def _rest(before: datetime) -> list[tuple[Table, ColumnElement[bool]]]:
    gone = func.coalesce(worker.c.ended_at, worker.c.seen_at) < before
    return [(event_log, and_(event_log.c.run_key == "", event_log.c.seq < clock.to_micros(before))), (worker, gone),
            (notice_message, notice_message.c.ended_at < before)]


def old_versions(connection: Connection, before: datetime, in_use: Collection[str]) -> list[str]:
    """Return the versions, first submitted before `before`, that their DAGs do not need, that no run or try has, and that are not `in_use`."""
    found = connection.execute(select(dag_version.c.version).where(dag_version.c.created_at < before)).scalars().all()
    named = (select(dag.c.version), select(dag.c.unsigned), *(select(column).where(column.is_not(None)).distinct()
                                      for column in (dag_run.c.version, task_instance.c.version, task_try.c.version)))
    needed = {*in_use, *(version for query in named for version in connection.execute(query).scalars())}
    return [version for version in found if version not in needed]


def remove_versions(connection: Connection, versions: Sequence[str]) -> int:
    """Remove these versions, unless a run or a DAG has taken one meanwhile; return how many went."""
    runs = select(dag_run.c.version).where(dag_run.c.version.in_(versions))
    newest = select(dag.c.version).where(dag.c.version.in_(versions)).union(select(dag.c.unsigned).where(dag.c.unsigned.in_(versions)))
    query = delete(dag_version).where(dag_version.c.version.in_(versions), dag_version.c.version.not_in(runs), dag_version.c.version.not_in(newest))
    return connection.execute(query).rowcount
