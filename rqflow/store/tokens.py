"""Tokens for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import RowMapping, insert, or_, select, update

from rqflow.exceptions import NotFound
from rqflow.store.engine import Connection
from rqflow.store.sessions import Entry
from rqflow.store.tables import api_token, user


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenRecord:
    """A token; the columns of table api_token but the digest."""

    id: int
    username: str
    name: str
    #: Most that it may do.
    role: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None

    def state(self, now: datetime) -> str:
        """Say whether it lets in: active, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


_ALL = select(*(api_token.c[name] for name in TokenRecord.__slots__))


def add(connection: Connection, digest: str, *, username: str, name: str, role: str, created_at: datetime,
        expires_at: datetime | None) -> TokenRecord:
    """Write a new token."""
    values = {"digest": digest, "username": username, "name": name, "role": role, "created_at": created_at, "expires_at": expires_at,
              "last_used_at": None, "revoked_at": None}
    connection.execute(insert(api_token).values(values))
    return _record(connection.execute(_ALL.where(api_token.c.digest == digest)).mappings().one())


def entry(connection: Connection, digest: str, now: datetime) -> Entry | None:
    """Return who comes in with this token; None when it is over or revoked, or they may not log in any more."""
    columns = (api_token.c.username, user.c.role, api_token.c.role.label("scope"), api_token.c.last_used_at, api_token.c.expires_at)
    query = select(*columns).join(user, user.c.username == api_token.c.username)
    lasts = or_(api_token.c.expires_at.is_(None), api_token.c.expires_at > now)
    row = connection.execute(query.where(api_token.c.digest == digest, api_token.c.revoked_at.is_(None), lasts, user.c.is_active)).first()
    return None if row is None else Entry(digest=digest, username=row.username, role=row.role, scope=row.scope, seen_at=row.last_used_at,
                                          expires_at=row.expires_at)


def touch(connection: Connection, digest: str, now: datetime) -> None:
    """Note that a token was used."""
    connection.execute(update(api_token).where(api_token.c.digest == digest).values(last_used_at=now))


def search(connection: Connection, *, username: str | None = None) -> list[TokenRecord]:
    """Return all tokens, also those that are over, of one person where they are named; in the order in which they were made."""
    query = _ALL.order_by(api_token.c.id)
    query = query if username is None else query.where(api_token.c.username == username)
    return [_record(row) for row in connection.execute(query).mappings()]


def find(connection: Connection, number: int) -> TokenRecord:
    """Return the token of this number; raises NotFound."""
    row = connection.execute(_ALL.where(api_token.c.id == number)).mappings().first()
    if row is None:
        raise NotFound(f"there is no token {number}", hint="`rqflow token list` shows them.")
    return _record(row)


def revoke(connection: Connection, number: int, now: datetime) -> bool:
    """Let a token let in nobody any more; False when it was revoked before."""
    query = update(api_token).where(api_token.c.id == number, api_token.c.revoked_at.is_(None))
    return bool(connection.execute(query.values(revoked_at=now)).rowcount)


def revoke_all_of(connection: Connection, username: str, now: datetime) -> int:
    """Revoke all tokens of a person; return how many there were to revoke."""
    query = update(api_token).where(api_token.c.username == username, api_token.c.revoked_at.is_(None))
    return int(connection.execute(query.values(revoked_at=now)).rowcount)


def revoked(connection: Connection) -> dict[str, datetime]:
    """Return the digests of the tokens that were revoked, and when."""
    query = select(api_token.c.digest, api_token.c.revoked_at).where(api_token.c.revoked_at.is_not(None))
    return {one.digest: one.revoked_at for one in connection.execute(query)}


def revoke_again(connection: Connection, gone: Mapping[str, datetime]) -> None:
    """Revoke the tokens of these digests that are there and let in, as of the moments given."""
    for digest, moment in gone.items():
        query = update(api_token).where(api_token.c.digest == digest, api_token.c.revoked_at.is_(None))
        connection.execute(query.values(revoked_at=moment))


def _record(row: RowMapping) -> TokenRecord:
    return TokenRecord(**row)
