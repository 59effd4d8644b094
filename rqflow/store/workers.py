"""Workers, also those that are gone. Who lives now is live state and stands in Redis; this is the memory of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import RowMapping, select, update

from rqflow.store.engine import Connection
from rqflow.store.tables import worker
from rqflow.store.upsert import Rule, upsert

_SEEN = Rule(table=worker, order=("seen_at",), fixed=frozenset({"started_at"}))


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerRecord:
    """A worker; the columns of table worker."""

    name: str
    host: str
    pid: int | None
    queues: tuple[str, ...]
    labels: tuple[str, ...]
    slots: int
    rqflow_version: str
    started_at: datetime
    #: Last sign of life.
    seen_at: datetime
    #: When it signed off; None: it has not.
    ended_at: datetime | None = None


def record(connection: Connection, records: Sequence[WorkerRecord]) -> None:
    """Write workers as they were seen; what is known from later stays."""
    upsert(connection, _SEEN, [{**asdict(one), "queues": list(one.queues), "labels": list(one.labels)} for one in records])


def list_all(connection: Connection, *, since: datetime | None = None) -> list[WorkerRecord]:
    """Return the workers by name, those seen at or after `since` where it is given."""
    query = select(worker).order_by(worker.c.name)
    return [_record(row) for row in connection.execute(query if since is None else query.where(worker.c.seen_at >= since)).mappings()]


def get(connection: Connection, name: str) -> WorkerRecord | None:
    """Return the worker, or None."""
    row = connection.execute(select(worker).where(worker.c.name == name)).mappings().first()
    return _record(row) if row else None


def finish(connection: Connection, names: Collection[str], ended_at: datetime) -> None:
    """Say that these workers signed off."""
    connection.execute(update(worker).where(worker.c.name.in_(list(names)), worker.c.ended_at.is_(None)).values(ended_at=ended_at))


def _record(row: RowMapping) -> WorkerRecord:
    return WorkerRecord(**{**row, "queues": tuple(row["queues"]), "labels": tuple(row["labels"])})
