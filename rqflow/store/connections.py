"""Connections, their passwords and extras sealed: what opens them is not this room's business."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, update

from rqflow import clock
from rqflow.store.engine import Connection
from rqflow.store.tables import connection as table
from rqflow.store.upsert import Rule, upsert

_NEW = Rule(table=table)
#: What a new one has where nothing is given.
_EMPTY: dict[str, Any] = {"conn_type": "", "host": "", "schema": "", "login": "", "password": "", "port": None, "extra": "", "description": ""}


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionRecord:
    """A Connection; the columns of table connection."""

    conn_id: str
    conn_type: str
    host: str
    schema: str
    login: str
    password: str
    port: int | None
    extra: str
    #: None: neither password nor extra is sealed, because there is none.
    secret_key: str | None
    description: str
    updated_at: datetime

    @property
    def entry(self) -> dict[str, object]:
        """What is mirrored of it into Redis."""
        fields = {name: value for name, value in asdict(self).items() if name not in {"conn_id", "secret_key", "updated_at"}}
        return {"key": self.secret_key, **fields}


def list_all(connection: Connection) -> list[ConnectionRecord]:
    """Return all Connections by name."""
    return [ConnectionRecord(**row) for row in connection.execute(select(table).order_by(table.c.conn_id)).mappings()]


def get(connection: Connection, conn_id: str) -> ConnectionRecord | None:
    """Return the Connection, or None."""
    row = connection.execute(select(table).where(table.c.conn_id == conn_id)).mappings().first()
    return ConnectionRecord(**row) if row else None


def put(connection: Connection, conn_id: str, fields: Mapping[str, Any], *, secret_key: str | None) -> bool:
    """Make the Connection with these fields, or give it these in place of all that it had; True when it is new."""
    values = {**_EMPTY, **fields, "secret_key": secret_key, "updated_at": clock.utcnow()}
    is_new = get(connection, conn_id) is None
    upsert(connection, _NEW, [{"conn_id": conn_id, **values}])
    connection.execute(update(table).where(table.c.conn_id == conn_id).values(values))
    return is_new


def remove(connection: Connection, conn_ids: Sequence[str]) -> int:
    """Delete Connections; return how many there were."""
    return int(connection.execute(delete(table).where(table.c.conn_id.in_(list(conn_ids)))).rowcount)


def keys_in_use(connection: Connection) -> Collection[str]:
    """Return the names of the keys with which Connections are sealed."""
    found = connection.execute(select(table.c.secret_key).where(table.c.secret_key.is_not(None)).distinct())
    return [str(name) for name in found.scalars()]


def state(connection: Connection) -> str:
    """Return a text that is another one after each change."""
    count, last = connection.execute(select(func.count(), func.max(table.c.updated_at))).one()
    return f"{count}@{last}"
