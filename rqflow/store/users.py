"""People who may use the page and the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, delete, func, insert, select, update

from rqflow.exceptions import NotFound
from rqflow.store.engine import Connection
from rqflow.store.tables import user
from rqflow.store.types import clean


@dataclass(frozen=True, kw_only=True, slots=True)
class UserRecord:
    """A person; the columns of table user but the hash of the password."""

    username: str
    full_name: str
    #: viewer, operator or admin.
    role: str
    email: str
    #: Who vouches for them: password, proxy or oidc.
    source: str
    is_active: bool
    created_at: datetime
    last_login_at: datetime | None
    disabled_at: datetime | None


_ALL = select(*(user.c[name] for name in UserRecord.__slots__))


def list_all(connection: Connection) -> list[UserRecord]:
    """Return all people by name."""
    return [_record(row) for row in connection.execute(_ALL.order_by(user.c.username)).mappings()]


def get(connection: Connection, username: str) -> UserRecord | None:
    """Return the person, or None."""
    row = connection.execute(_ALL.where(user.c.username == clean(username))).mappings().first()
    return _record(row) if row else None


def find(connection: Connection, username: str, *, locks: bool = False) -> UserRecord:
    """Return the person; raises NotFound. With `locks` nobody else changes them until the transaction ends."""
    query = _ALL.where(user.c.username == clean(username))
    row = connection.execute(query.with_for_update() if locks else query).mappings().first()
    if row is None:
        raise NotFound(f"there is no user {username}", hint="`rqflow user list` shows them.")
    return _record(row)


def password_hash(connection: Connection, username: str) -> str:
    """Return the hash of the person's password; empty: they have none, or there is no such person."""
    return connection.execute(select(user.c.password_hash).where(user.c.username == clean(username))).scalar() or ""


def add(connection: Connection, record: UserRecord, password_hash: str) -> None:
    """Write a new person."""
    values = {name: getattr(record, name) for name in UserRecord.__slots__}
    connection.execute(insert(user).values(values | {"password_hash": password_hash}))


def change(connection: Connection, username: str, values: Mapping[str, Any]) -> None:
    """Change columns of a person."""
    if values:
        connection.execute(update(user).where(user.c.username == username).values(dict(values)))


def remove(connection: Connection, username: str) -> None:
    """Delete a person, and with them their sessions and tokens."""
    connection.execute(delete(user).where(user.c.username == username))


def count(connection: Connection, *, role: str | None = None, is_active: bool | None = None) -> int:
    """Return how many people there are: of this role, of those that may log in or not, where that is given."""
    query = select(func.count()).select_from(user)
    query = query if role is None else query.where(user.c.role == role)
    query = query if is_active is None else query.where(user.c.is_active == is_active)
    return connection.execute(query).scalar_one()


def _record(row: RowMapping) -> UserRecord:
    return UserRecord(**row)
