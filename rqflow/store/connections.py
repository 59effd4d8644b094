"""Connections: where other systems are, and how to log in there."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime

from sqlalchemy import delete, select, update

from rqflow import clock
from rqflow.exceptions import NotFound
from rqflow.store.engine import Connection
from rqflow.store.tables import connection as table
from rqflow.store.upsert import Rule, upsert

_NEW = Rule(table=table)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionRecord:
    """A connection; the columns of table connection. Password and extra stay out of its repr."""

    conn_id: str
    conn_type: str
    host: str = ""
    schema: str = ""
    login: str = ""
    password: str = field(default="", repr=False)
    port: int | None = None
    #: JSON text.
    extra: str = field(default="", repr=False)
    #: Name of the key that password and extra are encrypted with; None: plain.
    secret_key: str | None = None
    description: str = ""
    #: Set by `put`.
    updated_at: datetime | None = None


def list_all(connection: Connection) -> list[ConnectionRecord]:
    """Return all connections by id."""
    return [ConnectionRecord(**row) for row in connection.execute(select(table).order_by(table.c.conn_id)).mappings()]


def get(connection: Connection, conn_id: str) -> ConnectionRecord | None:
    """Return the connection, or None."""
    row = connection.execute(select(table).where(table.c.conn_id == conn_id)).mappings().first()
    return ConnectionRecord(**row) if row else None


def put(connection: Connection, record: ConnectionRecord) -> bool:
    """Make the connection, or replace the one of its id; True when it is new."""
    values = {**asdict(record), "updated_at": clock.utcnow()}
    is_new = get(connection, record.conn_id) is None
    upsert(connection, _NEW, [values])
    connection.execute(update(table).where(table.c.conn_id == record.conn_id).values(values))
    return is_new


def remove(connection: Connection, conn_id: str) -> None:
    """Delete the connection; raises NotFound."""
    if not connection.execute(delete(table).where(table.c.conn_id == conn_id)).rowcount:
        raise NotFound(f"there is no connection {conn_id}", hint="`rqflow conn list` shows them.")
