"""The versions that a DAG has had: when each came, and how many runs took it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from rqflow.store import deletions
from rqflow.store.engine import Connection
from rqflow.store.tables import dag_run, dag_version

_IS_THERE = deletions.not_buried(deletions.RUN, dag_run.c.run_key)


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionLine:
    """A version in one line."""

    number: int
    #: Its sha.
    version: str
    #: When it was submitted first.
    created_at: datetime
    #: Runs that were made of it.
    runs: int


def of_dag(connection: Connection, dag_id: str, *, limit: int, before: int | None = None) -> list[VersionLine]:
    """Return up to `limit` versions of a DAG, the newest first: those with a number below `before`, where that is given."""
    column = dag_version.c
    query = select(column.number, column.version, column.created_at).where(column.dag_id == dag_id).order_by(column.number.desc()).limit(limit)
    found = connection.execute(query if before is None else query.where(column.number < before)).all()
    own = dag_run.c
    counted = select(own.version, func.count()).where(own.dag_id == dag_id, own.version.in_([row.version for row in found]), _IS_THERE)
    runs: dict[str, int] = dict(tuple(row) for row in connection.execute(counted.group_by(own.version))) if found else {}
    return [VersionLine(number=row.number, version=row.version, created_at=row.created_at, runs=runs.get(row.version, 0)) for row in found]
