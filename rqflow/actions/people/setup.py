"""Links by which a person sets a password once: the first administrator, somebody who is new, or who has forgotten theirs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rqflow import clock
from rqflow.actions.people import sessions as beginning
from rqflow.actions.people import users as people
from rqflow.actions.people.sessions import NewSession
from rqflow.exceptions import Conflict, NotFound, UsageError
from rqflow.security import bearer
from rqflow.security.passwords import Passwords
from rqflow.security.roles import Role
from rqflow.store import events, sessions, setup_links, users
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction
from rqflow.store.setup_links import LinkRecord

#: How long a link is good for, and how long afterwards it is still told why it is not.
LIFETIME, REMEMBERED = timedelta(hours=1), timedelta(days=30)
_NEW = "`rqflow user setup-link` at the hub makes another one."


@dataclass(frozen=True, kw_only=True, slots=True)
class NewLink:
    """A link that was made; its secret is shown once."""

    secret: str = field(repr=False)
    #: Whose it is; None: whoever opens it chooses a name.
    username: str | None
    role: Role
    expires_at: datetime

    @property
    def path(self) -> str:
        """Where it leads on the page."""
        return f"/setup/{self.secret}"


def make(engine: Engine, *, by: str, username: str | None = None, role: Role | None = None) -> NewLink:
    """Make a link, good once and for an hour: for a person, or for somebody new, who gets the `role` (default: admin, for a name: viewer).

    Raises UsageError for a name that cannot be or a role that a known person does not have, Conflict for one who is disabled.
    """
    now, secret = clock.utcnow(), bearer.new_secret()
    wanted = role or (Role.ADMIN if username is None else Role.VIEWER)
    if username is not None:
        people.new(username, role=wanted, now=now)

    def write(connection: Connection) -> NewLink:
        known = users.get(connection, username) if username is not None else None
        if known and not known.is_active:
            raise Conflict(f"user {username} is disabled", hint=f"`rqflow user enable {username}` lets them in again.")
        if known and role not in {None, Role(known.role)}:
            raise UsageError(f"user {username} is {known.role} already", hint=f"`rqflow user edit {username} --role` changes that.")
        link = LinkRecord(digest=bearer.digest(secret), username=username, role=known.role if known else wanted.value, who=by, created_at=now,
                          expires_at=now + LIFETIME, used_at=None)
        setup_links.remove_before(connection, now - REMEMBERED)
        setup_links.add(connection, link)
        events.add(connection, "setup_link_made", who=by, user=username or "", role=link.role)
        return NewLink(secret=secret, username=username, role=Role(link.role), expires_at=link.expires_at)

    return run_in_transaction(engine, write)


def look(engine: Engine, secret: str) -> LinkRecord:
    """Return what a link is for. Raises NotFound for one that there never was, Conflict for one that was used, or is too old."""
    with reading(engine) as connection:
        return _look(connection, secret)


def use_link(engine: Engine, secret: str, username: str, password: str, *, ip: str, agent: str, lifetime: timedelta = timedelta(days=14),
             full_name: str = "", email: str = "", passwords: Passwords = people.STANDARD) -> NewSession:
    """Set the password of the person of a link, add them if they are new, end their other sessions, and log them in.

    Raises what `look` raises, UsageError for a password or a name that cannot be, Conflict for a name that is another's or is disabled; the link
    stays good then.
    """
    link = look(engine, secret)
    name = link.username or username
    if link.username not in {None, username}:
        raise UsageError(f"this link is for {link.username}")
    fresh = people.new(name, role=Role(link.role), now=clock.utcnow(), full_name=full_name, email=email)
    kept = passwords.hash(password)

    def write(connection: Connection) -> NewSession:
        _look(connection, secret)
        if not setup_links.use(connection, link.digest, clock.utcnow()):
            raise _used()
        known = users.get(connection, name)
        if known and (link.username is None or not known.is_active):
            raise Conflict(f"there is a user {name} already" if known.is_active else f"user {name} is disabled", hint="Choose another name.")
        if known:
            users.change(connection, name, {"password_hash": kept})
            sessions.remove_all_of(connection, name)
            events.add(connection, "password_changed", who=name, user=name, how="link")
        else:
            people.insert(connection, replace(fresh, last_login_at=None), kept, by=link.who)
        events.add(connection, "setup_link_used", who=name, ip=ip)
        return beginning.begin(connection, name, ip=ip, agent=agent, lifetime=lifetime, how="link")

    return run_in_transaction(engine, write)


def _look(connection: Connection, secret: str) -> LinkRecord:
    link = setup_links.get(connection, bearer.digest(secret))
    if link is None:
        raise NotFound("there is no such set-up link", hint=f"Is all of it there? {_NEW}")
    if link.used_at is not None:
        raise _used()
    if link.expires_at <= clock.utcnow():
        raise Conflict(f"this set-up link was good until {link.expires_at:%Y-%m-%d %H:%M:%S} UTC", hint=_NEW)
    return link


def _used() -> Conflict:
    return Conflict("this set-up link was used already, and is good once", hint=f"Log in, if it was you. {_NEW}")
