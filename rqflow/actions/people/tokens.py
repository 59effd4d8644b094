"""Tokens, by which programs come in as a person."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from rqflow import clock
from rqflow.exceptions import Conflict, NotFound, UsageError
from rqflow.security import bearer
from rqflow.security.roles import Role
from rqflow.store import events, tokens, users
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction
from rqflow.store.tokens import TokenRecord

#: Characters of what a token is for.
_LONGEST = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class NewToken:
    """A token that was made; its text is shown once."""

    text: str = field(repr=False)
    record: TokenRecord


def make(engine: Engine, username: str, *, name: str, by: str, role: Role | None = None, most: Role = Role.ADMIN,
         lifetime: timedelta | None = None) -> NewToken:
    """Make a token of a person, which may do what `role` may (None: what the person may, and no more than `most`), for so long (None: until it is
    revoked).

    Raises NotFound, UsageError for more than the person may, a lifetime or a name that cannot be, Conflict for a person who is disabled.
    """
    if not name.strip() or len(name) > _LONGEST or any(ord(letter) < 32 for letter in name):
        raise UsageError(f"the name of a token is one line of 1 to {_LONGEST} characters that say what it is for")
    if lifetime is not None and lifetime <= timedelta(0):
        raise UsageError("a token lasts longer than that")
    text, now = bearer.new_token(), clock.utcnow()
    try:
        expires_at = None if lifetime is None else now + lifetime
    except OverflowError as error:
        raise UsageError("a token cannot last for so long", hint="Without an end it lasts until it is revoked.") from error
    if expires_at is not None and expires_at.year > 9000:
        raise UsageError("a token cannot last for so long", hint="Without an end it lasts until it is revoked.")

    def write(connection: Connection) -> NewToken:
        owner = users.find(connection, username, locks=True)
        if not owner.is_active:
            raise Conflict(f"user {username} is disabled", hint=f"`rqflow user enable {username}` lets them in again.")
        own = Role(owner.role)
        if role is not None and not own.allows(role):
            raise UsageError(f"{username} is {own.value}, and a token may not do more than its person")
        scope = role or own.at_most(most)
        record = tokens.add(connection, bearer.digest(text), username=username, name=name.strip(), role=scope.value, created_at=now,
                            expires_at=expires_at)
        events.add(connection, "token_made", who=by, user=username, token=record.id, name=record.name, role=record.role, expires_at=expires_at)
        return NewToken(text=text, record=record)

    return run_in_transaction(engine, write)


def list_all(engine: Engine, *, username: str | None = None) -> list[TokenRecord]:
    """Return all tokens, also those that are over, of one person where they are named."""
    with reading(engine) as connection:
        return tokens.search(connection, username=username)


def revoke(engine: Engine, number: int, *, by: str, of: str | None = None) -> TokenRecord:
    """Let a token let in nobody any more. Raises NotFound, also for one that is not `of` this person; Conflict for one that was revoked before."""

    def write(connection: Connection) -> TokenRecord:
        record = tokens.find(connection, number)
        if of not in {None, record.username}:
            raise NotFound(f"there is no token {number}", hint="`rqflow token list` shows them.")
        if not tokens.revoke(connection, number, clock.utcnow()):
            raise Conflict(f"token {number} was revoked already")
        events.add(connection, "token_revoked", who=by, user=record.username, token=number, name=record.name)
        return tokens.find(connection, number)

    return run_in_transaction(engine, write)
