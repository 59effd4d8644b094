"""Pools. The slots in use are live state and stand in Redis; here is how many there are."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select, update

from rqflow.exceptions import PoolNotFound
from rqflow.store.engine import Connection
from rqflow.store.tables import pool
from rqflow.store.upsert import Rule, upsert

_NEW = Rule(table=pool)


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolRecord:
    """A pool; the columns of table pool."""

    name: str
    slots: int
    description: str


def list_all(connection: Connection) -> list[PoolRecord]:
    """Return all pools by name."""
    return [PoolRecord(**row) for row in connection.execute(select(pool).order_by(pool.c.name)).mappings()]


def get(connection: Connection, name: str) -> PoolRecord | None:
    """Return the pool, or None."""
    row = connection.execute(select(pool).where(pool.c.name == name)).mappings().first()
    return PoolRecord(**row) if row else None


def put(connection: Connection, name: str, slots: int, *, description: str | None = None) -> bool:
    """Make the pool, or change its slots, and its description where one is given; True when it is new."""
    values = {"slots": slots} if description is None else {"slots": slots, "description": description}
    is_new = get(connection, name) is None
    upsert(connection, _NEW, [{"name": name, "slots": slots, "description": description or ""}])
    connection.execute(update(pool).where(pool.c.name == name).values(values))
    return is_new


def remove(connection: Connection, name: str) -> None:
    """Delete the pool; raises PoolNotFound."""
    if not connection.execute(delete(pool).where(pool.c.name == name)).rowcount:
        raise PoolNotFound(f"there is no pool {name}", hint="`rqflow pool list` shows them.")
