"""Operations on sessions, browsers that are logged in: each person has their own, and an admin sees all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rqflow.actions.people import sessions
from rqflow.api.hub import Hub
from rqflow.api.operation import Page, about, operation
from rqflow.api.tokens import OfWhom, whose
from rqflow.api.users import SessionsEnded
from rqflow.security.roles import Role
from rqflow.store.sessions import SessionRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """A browser that is logged in."""

    #: What people call it.
    name: str
    username: str
    ip: str
    agent: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, one: SessionRecord) -> Session:
        """Return the session of a record, without what names it in full."""
        return cls(name=one.name, username=one.username, ip=one.ip, agent=one.agent, created_at=one.created_at, seen_at=one.seen_at,
                   expires_at=one.expires_at)


@operation("sessions.list", "GET", "/sessions", Role.VIEWER)
def list_sessions(hub: Hub, asked: OfWhom) -> Page[Session]:
    """List the browsers that are logged in, those seen last first."""
    return Page(items=tuple(Session.of(one) for one in sessions.list_all(hub.engine, username=whose(hub, asked))))


@dataclass(frozen=True, kw_only=True, slots=True)
class OneSession:
    """Which session."""

    session: str = about("Its name.")


@operation("sessions.revoke", "DELETE", "/sessions/{session}", Role.VIEWER)
def revoke_session(hub: Hub, asked: OneSession) -> SessionsEnded:
    """End a session: one of yours, or any as an admin. Its browser has to log in again."""
    found = _found(hub, asked.session)
    sessions.revoke(hub.engine, found.digest, by=hub.person.name)
    return SessionsEnded(username=found.username, sessions_ended=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class EndSessions:
    """Whose sessions end."""

    username: str | None = about("Of this person; yours when not given. Another's are for an admin.", None)
    keep: str | None = about("The name of a session that goes on.", None)


@operation("sessions.revoke_all", "POST", "/sessions/revoke-all", Role.VIEWER)
def revoke_sessions(hub: Hub, asked: EndSessions) -> SessionsEnded:
    """End all sessions of a person."""
    name = whose(hub, OfWhom(username=asked.username)) or hub.person.name
    ended = sessions.revoke_all(hub.engine, name, by=hub.person.name, keep=digest_of(hub, asked.keep))
    return SessionsEnded(username=name, sessions_ended=ended)


def digest_of(hub: Hub, name: str | None) -> str | None:
    """Return what names a session in full. Raises NotFound, UsageError."""
    return None if not name else _found(hub, name).digest


def _found(hub: Hub, name: str) -> SessionRecord:
    """Return a session of the person's, or as an admin anybody's. Raises NotFound, UsageError."""
    return sessions.find(hub.engine, name, of=None if hub.person.is_admin else hub.person.name)
