"""Browsers that are logged in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import RowMapping, delete, insert, select, update

from rqflow.store.engine import Connection
from rqflow.store.tables import session, user


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionRecord:
    """A session; the columns of table session."""

    digest: str
    username: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    ip: str
    agent: str

    @property
    def name(self) -> str:
        """What people call it: the beginning of its digest, of which nobody can make the secret."""
        return name_of(self.digest)


def name_of(digest: str) -> str:
    """Return what people call the session of this digest."""
    return digest[:12]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """Who comes in with a secret: a session's or a token's."""

    digest: str
    username: str
    #: Of the person, and the most that is wanted of them: of a session the same.
    role: str
    scope: str
    #: When it was used last, as far as was noted.
    seen_at: datetime | None
    expires_at: datetime | None


def add(connection: Connection, record: SessionRecord) -> None:
    """Write a new session."""
    connection.execute(insert(session).values({name: getattr(record, name) for name in SessionRecord.__slots__}))


def entry(connection: Connection, digest: str, now: datetime) -> Entry | None:
    """Return who is logged in by this session; None when it is over, or they may not log in any more."""
    query = select(session.c.username, user.c.role, session.c.seen_at, session.c.expires_at).join(user, user.c.username == session.c.username)
    row = connection.execute(query.where(session.c.digest == digest, session.c.expires_at > now, user.c.is_active)).first()
    return None if row is None else Entry(digest=digest, username=row.username, role=row.role, scope=row.role, seen_at=row.seen_at,
                                          expires_at=row.expires_at)


def entries(connection: Connection, digests: Collection[str], now: datetime) -> list[Entry]:
    """Return who is logged in by these sessions, as `entry` does: those that are over are left out."""
    columns = (session.c.digest, session.c.username, user.c.role, session.c.seen_at, session.c.expires_at)
    query = select(*columns).join(user, user.c.username == session.c.username)
    rows = connection.execute(query.where(session.c.digest.in_(list(digests)), session.c.expires_at > now, user.c.is_active))
    return [Entry(digest=digest, username=username, role=role, scope=role, seen_at=seen_at, expires_at=expires_at)
            for digest, username, role, seen_at, expires_at in rows]


def touch(connection: Connection, digest: str, seen_at: datetime, expires_at: datetime) -> None:
    """Note that a session was used, and until when it goes on."""
    connection.execute(update(session).where(session.c.digest == digest).values(seen_at=seen_at, expires_at=expires_at))


def search(connection: Connection, now: datetime, *, username: str | None = None) -> list[SessionRecord]:
    """Return the sessions that go on, of one person where they are named; those seen last first."""
    query = select(session).where(session.c.expires_at > now).order_by(session.c.seen_at.desc(), session.c.digest)
    query = query if username is None else query.where(session.c.username == username)
    return [_record(row) for row in connection.execute(query).mappings()]


def get(connection: Connection, digest: str) -> SessionRecord | None:
    """Return the session, or None."""
    row = connection.execute(select(session).where(session.c.digest == digest)).mappings().first()
    return _record(row) if row else None


def remove(connection: Connection, digest: str) -> bool:
    """End a session; False when there is none."""
    return bool(connection.execute(delete(session).where(session.c.digest == digest)).rowcount)


def remove_all_of(connection: Connection, username: str, *, but: str | None = None) -> int:
    """End all sessions of a person, `but` the one of this digest; return how many there were."""
    query = delete(session).where(session.c.username == username)
    return int(connection.execute(query if but is None else query.where(session.c.digest != but)).rowcount)


def remove_all(connection: Connection) -> int:
    """End all sessions of everybody; return how many there were."""
    return int(connection.execute(delete(session)).rowcount)


def remove_expired(connection: Connection, now: datetime) -> None:
    """Forget the sessions that are over."""
    connection.execute(delete(session).where(session.c.expires_at <= now))


def _record(row: RowMapping) -> SessionRecord:
    return SessionRecord(**row)
