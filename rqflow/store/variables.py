"""Variables: values that templates read as var.value and var.json."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select, update

from rqflow import clock
from rqflow.exceptions import NotFound
from rqflow.store.engine import Connection
from rqflow.store.tables import variable
from rqflow.store.upsert import Rule, upsert

_NEW = Rule(table=variable)


@dataclass(frozen=True, kw_only=True, slots=True)
class VariableRecord:
    """A variable; the columns of table variable."""

    key: str
    value: str
    #: Name of the key that the value is encrypted with; None: plain.
    secret_key: str | None
    description: str
    updated_at: datetime


def list_all(connection: Connection) -> list[VariableRecord]:
    """Return all variables by key."""
    return [VariableRecord(**row) for row in connection.execute(select(variable).order_by(variable.c.key)).mappings()]


def get(connection: Connection, key: str) -> VariableRecord | None:
    """Return the variable, or None."""
    row = connection.execute(select(variable).where(variable.c.key == key)).mappings().first()
    return VariableRecord(**row) if row else None


def put(connection: Connection, key: str, value: str, *, secret_key: str | None = None, description: str | None = None) -> bool:
    """Make the variable or change its value, and its description where one is given; True when it is new."""
    values = {"value": value, "secret_key": secret_key, "updated_at": clock.utcnow()}
    if description is not None:
        values["description"] = description
    is_new = get(connection, key) is None
    upsert(connection, _NEW, [{"key": key, "description": "", **values}])
    connection.execute(update(variable).where(variable.c.key == key).values(values))
    return is_new


def remove(connection: Connection, key: str) -> None:
    """Delete the variable; raises NotFound."""
    if not connection.execute(delete(variable).where(variable.c.key == key)).rowcount:
        raise NotFound(f"there is no variable {key}", hint="`rqflow var list` shows them.")
