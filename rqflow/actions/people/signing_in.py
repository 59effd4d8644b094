"""Who asks: by a password, a session, a token, or the word of a proxy or a provider."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from rqflow import clock
from rqflow.actions.people import sessions as beginning
from rqflow.actions.people import users as people
from rqflow.actions.people.sessions import NewSession
from rqflow.actions.people.users import Source
from rqflow.exceptions import Conflict, NotPermitted
from rqflow.security import bearer
from rqflow.security.passwords import Passwords
from rqflow.security.roles import Person, Role
from rqflow.store import events, sessions, tokens, users
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction
from rqflow.store.sessions import Entry
from rqflow.store.types import ID_LENGTH

#: How often it is noted that a session or a token is used.
NOTED = timedelta(minutes=1)


def by_password(engine: Engine, username: str, password: str, *, ip: str, agent: str, lifetime: timedelta,
                passwords: Passwords = people.STANDARD) -> NewSession:
    """Log a person in. Raises NotPermitted, in the same words and after the same time whatever was wrong, unless they are disabled and know it."""
    with reading(engine) as connection:
        record = users.get(connection, username)
        kept = users.password_hash(connection, username)
    if not passwords.verify(kept, password):
        _fail(engine, username, ip, "password")
        raise NotPermitted("the user name or the password is wrong")
    if record is None or not record.is_active:
        _fail(engine, username, ip, "disabled")
        raise NotPermitted(f"user {username} is disabled", hint="An administrator can enable them.")
    better = passwords.hash(password) if passwords.is_outdated(kept) else None

    def write(connection: Connection) -> NewSession:
        # What was verified must still be so: a password that was changed meanwhile lets nobody in.
        if not users.find(connection, username, locks=True).is_active or users.password_hash(connection, username) != kept:
            raise NotPermitted("the password was changed just now")
        if better:
            users.change(connection, username, {"password_hash": better})
        return beginning.begin(connection, username, ip=ip, agent=agent, lifetime=lifetime, how="password")

    return run_in_transaction(engine, write)


def by_session(engine: Engine, secret: str) -> Person | None:
    """Return who is logged in by a session, which goes on from now for as long as it lasts; None: nobody is."""
    now, digest = clock.utcnow(), bearer.digest(secret)
    with reading(engine) as connection:
        entry = sessions.entry(connection, digest, now)
    if entry and entry.seen_at and entry.expires_at and now - entry.seen_at >= NOTED:
        until = now + (entry.expires_at - entry.seen_at)
        run_in_transaction(engine, lambda connection: sessions.touch(connection, digest, now, until))
    return _person(entry)


def by_sessions(engine: Engine, digests: Collection[str]) -> dict[str, Person]:
    """Return {digest: who is logged in by that session}, as `by_session` does, in one question for many."""
    now = clock.utcnow()
    with reading(engine) as connection:
        found = sessions.entries(connection, digests, now)
    used = {entry.digest: now + (entry.expires_at - entry.seen_at) for entry in found
            if entry.seen_at and entry.expires_at and now - entry.seen_at >= NOTED}

    def note(connection: Connection) -> None:
        for digest, until in used.items():
            sessions.touch(connection, digest, now, until)

    if used:
        run_in_transaction(engine, note)
    return {entry.digest: person for entry in found if (person := _person(entry))}


def by_token(engine: Engine, text: str) -> Person | None:
    """Return whose a token is, in the lower of its role and theirs; None: it lets in nobody."""
    if not text.startswith(bearer.TOKEN):
        return None
    now, digest = clock.utcnow(), bearer.digest(text)
    with reading(engine) as connection:
        entry = tokens.entry(connection, digest, now)
    if entry and _is_news(entry.seen_at, now):
        run_in_transaction(engine, lambda connection: tokens.touch(connection, digest, now))
    person = _person(entry)
    return replace(person, until=entry.expires_at) if person and entry else None


def by_basic(engine: Engine, username: str, password: str) -> Person | None:
    """Return who comes with a user name and a token in place of a password, as Basic authentication has them; None: nobody is let in."""
    person = by_token(engine, password)
    return person if person and person.name == username else None


def by_voucher(engine: Engine, username: str, *, source: Source, role: Role | None, full_name: str = "", email: str = "", ip: str = "") -> Person:
    """Return the person for whom a proxy or a provider (`source`) vouches; one who is new gets this `role`.

    Raises NotPermitted for one who is disabled, or is not known when there is no role for them, and UsageError for a name that cannot be. It is
    raised too for an account with a password of its own that nobody has handed to the provider: many let people choose their name there.
    """
    with reading(engine) as connection:
        record = users.get(connection, username)
    if record is None and role is not None:
        try:
            record = people.add(engine, username, role=role, by=username, source=source, full_name=full_name, email=email)
        except Conflict:  # their other request was first
            with reading(engine) as connection:
                record = users.get(connection, username)
    if record is None:
        raise NotPermitted(f"there is no user {username}", hint=f"An administrator can add them: rqflow user add {username} --no-password")
    if not record.is_active:
        raise NotPermitted(f"user {username} is disabled", hint="An administrator can enable them.")
    if source is Source.OIDC and record.source != source.value and _has_password(engine, username):
        _fail(engine, username, ip, "not the provider's")
        raise NotPermitted(f"user {username} logs in with a password here, and not by the provider",
                           hint=f"If both are the same person, an administrator says so by `rqflow user edit {username} --source oidc`")
    return Person(record.username, Role(record.role))


def _has_password(engine: Engine, username: str) -> bool:
    with reading(engine) as connection:
        return bool(users.password_hash(connection, username))


def begin(engine: Engine, person: Person, *, ip: str, agent: str, lifetime: timedelta, how: str) -> NewSession:
    """Log a person in for whom a provider has vouched (`how`). Raises NotPermitted when they were disabled meanwhile, NotFound when deleted."""

    def write(connection: Connection) -> NewSession:
        if not users.find(connection, person.name, locks=True).is_active:
            raise NotPermitted(f"user {person.name} is disabled")
        return beginning.begin(connection, person.name, ip=ip, agent=agent, lifetime=lifetime, how=how)

    return run_in_transaction(engine, write)


def log_out(engine: Engine, secret: str) -> None:
    """End a session; one that is over already stays so."""

    def write(connection: Connection) -> None:
        record = sessions.get(connection, bearer.digest(secret))
        if record and sessions.remove(connection, record.digest):
            events.add(connection, "logout", who=record.username, session=record.name)

    run_in_transaction(engine, write)


def _fail(engine: Engine, username: str, ip: str, why: str) -> None:
    """Write down that somebody was not let in."""
    run_in_transaction(engine, lambda connection: events.add(connection, "login_failed", who=username[:ID_LENGTH], ip=ip[:ID_LENGTH], why=why))


def _is_news(seen_at: datetime | None, now: datetime) -> bool:
    return seen_at is None or now - seen_at >= NOTED


def _person(entry: Entry | None) -> Person | None:
    return Person(entry.username, Role(entry.role).at_most(Role(entry.scope))) if entry else None
