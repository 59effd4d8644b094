"""Adding people, changing what they may, and letting them in no more."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from rqflow import clock
from rqflow.actions import schedule
from rqflow.exceptions import Conflict, TooMany, UsageError
from rqflow.security.passwords import Passwords
from rqflow.security.roles import Role
from rqflow.store import events, sessions, setup_links, shares, tokens, users
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction
from rqflow.store.events import EventFilter
from rqflow.store.types import clean
from rqflow.store.users import UserRecord


class Source(str, Enum):
    """Who vouches for a person: their password here, a proxy before the page, a provider of OpenID Connect."""

    PASSWORD = "password"  # noqa: S105 (a word, and no password)
    PROXY = "proxy"
    OIDC = "oidc"


#: A name as accounts, addresses and providers have it: nothing that a header, a URL or a list of names would take for something else.
_NAME = re.compile(r"[\w.@+][\w.@+-]{0,99}")
#: How often a minute a person may be wrong about the password that they change, and what such a failure is called in the audit log.
TRIES, _CHANGE = 5, "change of password"
#: Characters of a full name or an address.
_LONGEST = 250
#: Makes hashes at the usual cost.
STANDARD = Passwords()


def count_users(engine: Engine) -> int:
    """Return how many people there are, also disabled ones: 0 means that nobody has set up logins."""
    with reading(engine) as connection:
        return users.count(connection)


def list_all(engine: Engine) -> list[UserRecord]:
    """Return all people by name."""
    with reading(engine) as connection:
        return users.list_all(connection)


def get(engine: Engine, username: str) -> UserRecord:
    """Return a person; raises NotFound."""
    with reading(engine) as connection:
        return users.find(connection, username)


def new(username: str, *, role: Role, now: datetime, full_name: str = "", email: str = "", source: Source = Source.PASSWORD) -> UserRecord:
    """Return a person who can be added. Raises UsageError for a name or an address that cannot be."""
    if not _NAME.fullmatch(username):
        raise UsageError(f"the user name {username[:100]!r} may hold 1 to 100 letters, digits and . _ @ + -, and does not begin with -")
    return UserRecord(username=username, full_name=_full_name(full_name), role=role.value, email=_email(email), source=source.value, is_active=True,
                      created_at=now, last_login_at=None, disabled_at=None)


def add(engine: Engine, username: str, *, role: Role, by: str, password: str | None = None, full_name: str = "", email: str = "",
        source: Source = Source.PASSWORD, passwords: Passwords = STANDARD) -> UserRecord:
    """Add a person, who cannot log in with a password unless they are given one. Raises UsageError, and Conflict for a name that is taken."""
    record = new(username, role=role, now=clock.utcnow(), full_name=full_name, email=email, source=source)
    kept = "" if password is None else passwords.hash(password)

    def write(connection: Connection) -> UserRecord:
        insert(connection, record, kept, by=by)
        return record

    return run_in_transaction(engine, write)


def insert(connection: Connection, record: UserRecord, password_hash: str, *, by: str) -> None:
    """Write a new person, and that they were added. Raises Conflict for a name that is taken."""
    if users.get(connection, record.username):
        raise Conflict(f"there is a user {record.username} already", hint="`rqflow user edit` changes them, `rqflow user passwd` their password.")
    users.add(connection, record, password_hash)
    events.add(connection, "user_added", who=by, user=record.username, role=record.role, source=record.source)


def edit(engine: Engine, username: str, *, by: str, role: Role | None = None, source: Source | None = None, full_name: str | None = None,
         email: str | None = None) -> UserRecord:
    """Change a person; what is None stays. Raises NotFound, UsageError, and Conflict when nobody would be left who is an administrator."""
    given: dict[str, Any] = {"role": role.value if role else None, "source": source.value if source else None,
                             "full_name": None if full_name is None else _full_name(full_name),
                             "email": None if email is None else _email(email)}

    def write(connection: Connection) -> UserRecord:
        before = users.find(connection, username, locks=True)
        changed = {name: value for name, value in given.items() if value is not None and value != getattr(before, name)}
        if changed.get("role", Role.ADMIN.value) != Role.ADMIN.value:
            _keep_an_admin(connection, before)
        users.change(connection, username, changed)
        if changed:
            events.add(connection, "user_edited", who=by, user=username, **changed)
        return users.find(connection, username)

    return run_in_transaction(engine, write)


def set_password(engine: Engine, username: str, password: str, *, by: str, keep: str | None = None, passwords: Passwords = STANDARD) -> int:
    """Give a person another password, and end their sessions but the one of the digest `keep`; return how many ended. Raises NotFound, UsageError."""
    kept = passwords.hash(password)

    def write(connection: Connection) -> int:
        users.find(connection, username, locks=True)
        users.change(connection, username, {"password_hash": kept})
        ended = sessions.remove_all_of(connection, username, but=keep)
        setup_links.remove_all_of(connection, username)
        events.add(connection, "password_changed", who=by, user=username, sessions_ended=ended)
        return ended

    return run_in_transaction(engine, write)


def change_own_password(engine: Engine, username: str, current: str, password: str, *, keep: str | None = None,
                        passwords: Passwords = STANDARD) -> int:
    """Let a person change their password, which they show to have; otherwise as `set_password`.

    Raises UsageError also for a wrong present one, and TooMany when that was wrong too often in the last minute: whoever has found a browser
    that is logged in, or a token, does not find the password by it.
    """
    with reading(engine) as connection:
        users.find(connection, username)
        _must_wait(connection, username)
        kept = users.password_hash(connection, username)
    if not kept:
        raise UsageError(f"{username} has no password here", hint="An administrator makes a set-up link, by which you choose one.")
    if not passwords.verify(kept, current):
        run_in_transaction(engine, lambda connection: events.add(connection, "login_failed", who=username, why="password", how=_CHANGE))
        raise UsageError("the present password is wrong")
    return set_password(engine, username, password, by=username, keep=keep, passwords=passwords)


def _must_wait(connection: Connection, username: str) -> None:
    """Raise TooMany when a person was wrong too often about their own password."""
    failed = EventFilter(who=username, event="login_failed", since=clock.utcnow() - timedelta(minutes=1))
    if sum(_CHANGE in one.detail for one in events.search(connection, failed, limit=1000)) >= TRIES:
        raise TooMany("too many tries: wait a minute, then try again")


@dataclass(frozen=True, kw_only=True, slots=True)
class Departure:
    """What became of what a person had who is let in no more."""

    username: str
    #: So many sessions ended, and tokens were revoked.
    sessions: int
    tokens: int
    #: Their DAGs of which runs started by schedule: they are paused, or go on as the heir's.
    scheduled: tuple[str, ...]
    #: All DAGs that were handed over, and to whom; empty: to nobody.
    handed_over: tuple[str, ...] = ()
    heir: str = ""


def disable(engine: Engine, username: str, *, by: str, heir: str | None = None) -> Departure:
    """Let a person in no more: end their sessions, revoke their tokens, and pause their scheduled DAGs or give all their DAGs to the `heir`.

    Raises NotFound, UsageError for an heir who cannot be one, and Conflict for the last administrator, and for one who is disabled already.
    """

    def write(connection: Connection) -> Departure:
        before = users.find(connection, username, locks=True)
        if not before.is_active:
            raise Conflict(f"user {username} is disabled already")
        _keep_an_admin(connection, before)
        users.change(connection, username, {"is_active": False, "disabled_at": clock.utcnow()})
        left = _depart(connection, username, by=by, heir=heir)
        events.add(connection, "user_disabled", who=by, user=username, sessions_ended=left.sessions, tokens_revoked=left.tokens,
                   scheduled=list(left.scheduled), heir=left.heir)
        return left

    return run_in_transaction(engine, write)


def enable(engine: Engine, username: str, *, by: str) -> UserRecord:
    """Let a disabled person in again; tokens stay revoked, and DAGs paused. Raises NotFound, and Conflict for one who is not disabled."""

    def write(connection: Connection) -> UserRecord:
        if users.find(connection, username, locks=True).is_active:
            raise Conflict(f"user {username} is not disabled")
        users.change(connection, username, {"is_active": True, "disabled_at": None})
        events.add(connection, "user_enabled", who=by, user=username)
        return users.find(connection, username)

    return run_in_transaction(engine, write)


def delete(engine: Engine, username: str, *, by: str, heir: str | None = None) -> Departure:
    """Delete a person as `disable` lets one in no more; without an heir their DAGs are the administrators' then.

    Raises NotFound, UsageError, and Conflict for the last administrator.
    """

    def write(connection: Connection) -> Departure:
        before = users.find(connection, username, locks=True)
        _keep_an_admin(connection, before)
        left = _depart(connection, username, by=by, heir=heir)
        # Nobody of the same name who comes later is to find DAGs that are theirs.
        for dag_id in shares.submitted_by(connection, username):
            shares.give(connection, dag_id, None)
        shares.forget(connection, username)
        users.remove(connection, username)
        events.add(connection, "user_deleted", who=by, user=username, sessions_ended=left.sessions, tokens_revoked=left.tokens,
                   scheduled=list(left.scheduled), heir=left.heir)
        return left

    return run_in_transaction(engine, write)


def scheduled_dags(engine: Engine, username: str) -> list[str]:
    """Return the DAGs of a person of which runs start by schedule: what `disable` pauses."""
    with reading(engine) as connection:
        return shares.submitted_by(connection, username, scheduled=True)


def _depart(connection: Connection, username: str, *, by: str, heir: str | None) -> Departure:
    """Take from a person what lets them in, and pause their scheduled DAGs, or give all of theirs to an heir."""
    ended, revoked = sessions.remove_all_of(connection, username), tokens.revoke_all_of(connection, username, clock.utcnow())
    setup_links.remove_all_of(connection, username)
    scheduled = tuple(shares.submitted_by(connection, username, scheduled=True))
    handed: tuple[str, ...] = ()
    if heir is None:
        for dag_id in scheduled:
            schedule.pause(connection, dag_id, by=by, why=f"{by} paused it, for {username} is not here any more")
    else:
        if heir == username or not users.find(connection, heir).is_active:
            raise UsageError(f"{heir} cannot take over the DAGs of {username}", hint="Name another user, who is not disabled.")
        handed = tuple(shares.submitted_by(connection, username))
        for dag_id in handed:
            shares.give(connection, dag_id, heir)
            events.add(connection, "dag_given", who=by, dag_id=dag_id, before=username, to=heir)
    return Departure(username=username, sessions=ended, tokens=revoked, scheduled=scheduled, handed_over=handed, heir=heir or "")


def _keep_an_admin(connection: Connection, record: UserRecord) -> None:
    """Raise Conflict when a person who is about to go, or to lose their role, is the only administrator of several people."""
    if record.role != Role.ADMIN.value or not record.is_active:
        return
    if users.count(connection, role=Role.ADMIN.value, is_active=True) == 1 and users.count(connection, is_active=True) > 1:
        raise Conflict(f"{record.username} is the only administrator", hint="Make another one first: rqflow user edit NAME --role admin.")


def _full_name(text: str) -> str:
    if len(text) > _LONGEST or any(ord(letter) < 32 for letter in text):
        raise UsageError(f"a full name is one line of at most {_LONGEST} characters")
    return clean(text.strip())


def _email(text: str) -> str:
    if text and (len(text) > _LONGEST or not re.fullmatch(r"[^\s@,;]+@[^\s@,;]+", text)):
        raise UsageError(f"{text[:100]!r} is no mail address")
    return clean(text)
