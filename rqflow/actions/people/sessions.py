"""Sessions: browsers in which people are logged in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rqflow import clock
from rqflow.exceptions import NotFound, UsageError
from rqflow.security import bearer
from rqflow.store import events, sessions, users
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction
from rqflow.store.sessions import SessionRecord
from rqflow.store.types import ID_LENGTH, clean

#: Characters that are kept of what a browser calls itself.
AGENT = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class NewSession:
    """A session that has begun; the secret is for the browser alone, and kept nowhere else."""

    secret: str = field(repr=False)
    username: str
    expires_at: datetime


def begin(connection: Connection, username: str, *, ip: str, agent: str, lifetime: timedelta, how: str) -> NewSession:
    """Log a person in who has shown who they are (`how`: password, link, oidc), and forget sessions that are over."""
    now, secret = clock.utcnow(), bearer.new_secret()
    sessions.remove_expired(connection, now)
    sessions.add(connection, SessionRecord(
        digest=bearer.digest(secret), username=username, created_at=now, seen_at=now, expires_at=now + lifetime,
        ip=clean(ip, ID_LENGTH), agent=clean(agent, AGENT)))
    users.change(connection, username, {"last_login_at": now})
    events.add(connection, "login", who=username, ip=ip, how=how)
    return NewSession(secret=secret, username=username, expires_at=now + lifetime)


def list_all(engine: Engine, *, username: str | None = None) -> list[SessionRecord]:
    """Return the sessions that go on, of one person where they are named; those seen last first."""
    with reading(engine) as connection:
        return sessions.search(connection, clock.utcnow(), username=username)


def find(engine: Engine, name: str, *, of: str | None = None) -> SessionRecord:
    """Return the session whose digest begins with `name`, `of` this person (None: of any); raises NotFound, or UsageError for several."""
    found = [one for one in list_all(engine, username=of) if name and one.digest.startswith(name)]
    if len(found) > 1:
        raise UsageError(f"{name} means {len(found)} sessions", hint="Give more of its name.")
    if not found:
        raise NotFound(f"there is no session {name}", hint="It may have ended by itself.")
    return found[0]


def revoke(engine: Engine, digest: str, *, by: str) -> None:
    """End a session: its browser has to log in again. Raises NotFound."""

    def write(connection: Connection) -> None:
        record = sessions.get(connection, digest)
        if record is None:
            raise NotFound("there is no such session", hint="It may have ended by itself.")
        sessions.remove(connection, digest)
        events.add(connection, "session_revoked", who=by, user=record.username, session=record.name)

    run_in_transaction(engine, write)


def revoke_all(engine: Engine, username: str, *, by: str, keep: str | None = None) -> int:
    """End all sessions of a person but the one of the digest `keep`; return how many there were."""

    def write(connection: Connection) -> int:
        ended = sessions.remove_all_of(connection, username, but=keep)
        if ended:
            events.add(connection, "sessions_revoked", who=by, user=username, sessions_ended=ended)
        return ended

    return run_in_transaction(engine, write)
