"""Workers of other machines that joined this hub, by the keys that they made for that."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select, update

from rqflow.store.engine import Connection
from rqflow.store.machine_tables import joined_worker


@dataclass(frozen=True, kw_only=True, slots=True)
class JoinedWorker:
    """A row of joined_worker."""

    name: str
    public_key: str
    ssh_key: str
    who: str
    joined_at: datetime


def get(connection: Connection, name: str) -> JoinedWorker | None:
    """Return the worker of this name (host.id); None when none has joined."""
    row = connection.execute(_all.where(joined_worker.c.name == name)).mappings().first()
    return JoinedWorker(**row) if row else None


def list_all(connection: Connection) -> list[JoinedWorker]:
    """Return all, by name."""
    return [JoinedWorker(**row) for row in connection.execute(_all.order_by(joined_worker.c.name)).mappings()]


def put(connection: Connection, record: JoinedWorker) -> None:
    """Keep a worker, in the place of one of this name."""
    values = asdict(record)
    if not connection.execute(update(joined_worker).where(joined_worker.c.name == record.name).values(values)).rowcount:
        connection.execute(insert(joined_worker).values(values))


def remove(connection: Connection, name: str) -> bool:
    """Forget a worker; False when none of this name has joined."""
    return bool(connection.execute(delete(joined_worker).where(joined_worker.c.name == name)).rowcount)


_all = select(*(joined_worker.c[name] for name in JoinedWorker.__slots__))
