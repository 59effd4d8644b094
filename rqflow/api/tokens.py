"""Operations on tokens: each person has their own, and an admin sees all."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from rqflow import clock
from rqflow.actions.people import tokens
from rqflow.api.hub import Hub
from rqflow.api.operation import Page, about, operation
from rqflow.exceptions import NotPermitted, UsageError
from rqflow.security.roles import Role
from rqflow.store.tokens import TokenRecord

#: Days that a token lets in when nobody says for how long.
DAYS = 90


@dataclass(frozen=True, kw_only=True, slots=True)
class Token(TokenRecord):
    """A token without what lets in; `standing`: active, expired or revoked."""

    standing: str = ""

    @classmethod
    def of(cls, record: TokenRecord) -> Token:
        """Return the token of a record."""
        return cls(**{field.name: getattr(record, field.name) for field in fields(TokenRecord)}, standing=record.state(clock.utcnow()))


@dataclass(frozen=True, kw_only=True, slots=True)
class OfWhom:
    """Whose."""

    username: str | None = about("Of this person; yours when not given. Another's are for an admin.", None)
    everybody: bool = about("Of all people, for an admin.", False)


def whose(hub: Hub, asked: OfWhom) -> str | None:
    """Return whose things are meant; None: everybody's. Raises NotPermitted for another's where no admin asks."""
    name = None if asked.everybody else asked.username or hub.person.name
    if name != hub.person.name and not hub.person.is_admin:
        raise NotPermitted(f"{hub.person.name} is {hub.person.role.value}, and what is another's takes admin")
    return name


@dataclass(frozen=True, kw_only=True, slots=True)
class ListTokens(OfWhom):
    """Which tokens."""

    over: bool = about("Also those that are over.", False)


@operation("tokens.list", "GET", "/tokens", Role.VIEWER)
def list_tokens(hub: Hub, asked: ListTokens) -> Page[Token]:
    """List tokens, without what lets in."""
    found = (Token.of(one) for one in tokens.list_all(hub.engine, username=whose(hub, asked)))
    return Page(items=tuple(one for one in found if asked.over or one.standing == "active"))


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateToken:
    """A token that is to be made."""

    name: str = about("What it is for.")
    role: Role | None = about("Most that it may; what you may when not given.", None)
    days: int | None = about("So many days it lets in; 0: until it is revoked.", DAYS)
    seconds: int | None = about("So many seconds it lets in, in place of days.", None)
    username: str | None = about("Whose it is: yours when not given; another's is for an admin.", None)


@dataclass(frozen=True, kw_only=True, slots=True)
class CreatedToken:
    """A token that was made. Its text is shown this once."""

    token: str
    record: Token


@operation("tokens.create", "POST", "/tokens", Role.VIEWER)
def create_token(hub: Hub, asked: CreateToken) -> CreatedToken:
    """Make a token, by which a program may what you may, or less.

    One that is asked for by a token lasts no longer than that.
    """
    name = whose(hub, OfWhom(username=asked.username))
    # What asks may be a token that may less than its person: nothing that may more comes of it.
    if asked.role is not None and not hub.person.role.allows(asked.role):
        raise UsageError(f"you are {hub.person.role.value} here, and a token may not do more than that")
    made = tokens.make(hub.engine, name or hub.person.name, name=asked.name, by=hub.person.name, role=asked.role, most=hub.person.role,
                       lifetime=_lifetime(asked, hub.person.until))
    return CreatedToken(token=made.text, record=Token.of(made.record))


def _lifetime(asked: CreateToken, until: datetime | None) -> timedelta | None:
    """Return for how long a token is made, of who is let in `until` then; None: until it is revoked. Raises UsageError."""
    days = DAYS if asked.days is None else asked.days
    if not 0 <= days <= 36_500:
        raise UsageError(f"days: {days} is not from 0 to 36500")
    wanted = timedelta(seconds=asked.seconds) if asked.seconds is not None else timedelta(days=days) if days else None
    if until is None:
        return wanted
    left = until - clock.utcnow()
    return left if wanted is None else min(wanted, left)


@dataclass(frozen=True, kw_only=True, slots=True)
class OneToken:
    """Which token."""

    number: int = about("Its id.")


@operation("tokens.revoke", "DELETE", "/tokens/{number}", Role.VIEWER)
def revoke_token(hub: Hub, asked: OneToken) -> Token:
    """Let a token let in nobody any more: one of yours, or any as an admin."""
    return Token.of(tokens.revoke(hub.engine, asked.number, by=hub.person.name, of=None if hub.person.is_admin else hub.person.name))
