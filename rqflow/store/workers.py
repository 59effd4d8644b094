"""Workers as the leading scheduler notes them: whom to wait for when Redis has lost its data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select

from rqflow.store.engine import Connection
from rqflow.store.machine_tables import worker
from rqflow.store.upsert import Rule, upsert

_SEEN = Rule(table=worker, order=("seen_at",), fixed=frozenset({"started_at"}))


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerRecord:
    """A worker; some columns of table worker. `name` is host.work_dir."""

    name: str
    queues: Sequence[str]
    seen_at: datetime
    #: When it signed off with nothing left to do; None: it has not.
    ended_at: datetime | None = None
    #: Whether it runs only what was signed by somebody whom it trusts; None: it never said.
    verifies: bool | None = None


def list_all(connection: Connection) -> list[WorkerRecord]:
    """Return all workers by name, also those that are gone."""
    columns = [worker.c[name] for name in WorkerRecord.__slots__]
    return [WorkerRecord(**row) for row in connection.execute(select(*columns).order_by(worker.c.name)).mappings()]


def put(connection: Connection, records: Iterable[WorkerRecord]) -> None:
    """Note workers, each as it was seen last."""
    unknown: dict[str, Any] = {"pid": None, "labels": [], "slots": 0, "rqflow_version": ""}
    rows = [{"name": each.name, "host": each.name.rpartition(".")[0], "queues": list(each.queues), "started_at": each.seen_at,
             "seen_at": each.seen_at, "ended_at": each.ended_at, "verifies": each.verifies, **unknown} for each in records]
    upsert(connection, _SEEN, rows)


def remove(connection: Connection, name: str) -> bool:
    """Forget a worker; False when nobody knows it."""
    return bool(connection.execute(delete(worker).where(worker.c.name == name)).rowcount)


def trusting_queues(connection: Connection) -> set[str]:
    """Return the queues that a worker serves, or has served, which runs only what was signed by somebody whom it trusts."""
    return {queue for queues in connection.execute(select(worker.c.queues).where(worker.c.verifies)).scalars() for queue in queues}
