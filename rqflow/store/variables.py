"""Variables, sealed: what opens them is not this room's business."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select, update

from rqflow import clock
from rqflow.store.engine import Connection
from rqflow.store.tables import variable
from rqflow.store.upsert import Rule, upsert

_NEW = Rule(table=variable)


@dataclass(frozen=True, kw_only=True, slots=True)
class VariableRecord:
    """A Variable; the columns of table variable."""

    key: str
    value: str
    #: None: value is plain text.
    secret_key: str | None
    is_secret: bool | None
    description: str
    updated_at: datetime

    @property
    def entry(self) -> dict[str, object]:
        """What is mirrored of it into Redis."""
        return {"key": self.secret_key, "value": self.value, "is_secret": bool(self.is_secret)}


def list_all(connection: Connection) -> list[VariableRecord]:
    """Return all Variables by name."""
    return [VariableRecord(**row) for row in connection.execute(select(variable).order_by(variable.c.key)).mappings()]


def get(connection: Connection, key: str) -> VariableRecord | None:
    """Return the Variable, or None."""
    row = connection.execute(select(variable).where(variable.c.key == key)).mappings().first()
    return VariableRecord(**row) if row else None


def put(connection: Connection, key: str, value: str, *, secret_key: str | None, is_secret: bool | None = None,
        description: str | None = None) -> bool:
    """Make the Variable, or change it, `is_secret` and description only where they are given; True when it is new."""
    given = {"is_secret": is_secret, "description": description}
    values = {"value": value, "secret_key": secret_key, "updated_at": clock.utcnow(), **{k: v for k, v in given.items() if v is not None}}
    is_new = get(connection, key) is None
    upsert(connection, _NEW, [{"key": key, "is_secret": False, "description": "", **values}])
    connection.execute(update(variable).where(variable.c.key == key).values(values))
    return is_new


def remove(connection: Connection, keys: Sequence[str]) -> int:
    """Delete Variables; return how many there were."""
    return int(connection.execute(delete(variable).where(variable.c.key.in_(list(keys)))).rowcount)


def keys_in_use(connection: Connection) -> Collection[str]:
    """Return the names of the keys with which Variables are sealed."""
    found = connection.execute(select(variable.c.secret_key).where(variable.c.secret_key.is_not(None)).distinct())
    return [str(name) for name in found.scalars()]


def state(connection: Connection) -> str:
    """Return a text that is another one after each change."""
    count, last = connection.execute(select(func.count(), func.max(variable.c.updated_at))).one()
    return f"{count}@{last}"
