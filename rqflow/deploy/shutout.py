"""Who may come in after a restore: a backup knows nothing of what was ended, revoked and disabled since it was made."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from rqflow import clock
from rqflow.exceptions import Conflict, StoreError
from rqflow.store import events, schema, sessions, setup_links, tokens, users
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction

#: Tokens and people that a remark names at most.
_NAMES = 10


@dataclass(frozen=True, slots=True)
class ShutOut:
    """Who was shut out of the history that a restore replaces: tokens by digest, with the moment of it, and people."""

    tokens: Mapping[str, datetime] = field(default_factory=dict)
    people: Collection[str] = ()


def known(engine: Engine) -> ShutOut:
    """Return what the database that is to be replaced knows; nothing where its tables are of another release, or are not there."""
    try:
        schema.check(engine)
    except (Conflict, StoreError):
        return ShutOut()
    with reading(engine) as connection:
        return ShutOut(tokens.revoked(connection), frozenset(one.username for one in users.list_all(connection) if not one.is_active))


def carry_over(engine: Engine, before: ShutOut, made_at: datetime, *, by: str) -> list[str]:
    """End all sessions and links of a restored history, and shut out whom `before` names; return what a person is to know of the others.

    Tokens that nobody is known to have revoked go on: programs shall work again when the hub does, and who restores is told which they are.
    """
    def carry(connection: Connection) -> list[str]:
        ended = sessions.remove_all(connection)
        setup_links.remove_all(connection)
        tokens.revoke_again(connection, before.tokens)
        for one in users.list_all(connection):
            if one.is_active and one.username in before.people:
                users.change(connection, one.username, {"is_active": False, "disabled_at": clock.utcnow()})
        events.add(connection, "hub_restored", who=by, made_at=made_at.isoformat(), sessions_ended=ended)
        return _remarks(connection, made_at)

    return run_in_transaction(engine, carry)


def _remarks(connection: Connection, made_at: datetime) -> list[str]:
    now, people = clock.utcnow(), {one.username for one in users.list_all(connection) if one.is_active}
    valid = [f"{one.id} ({one.name} of {one.username})" for one in tokens.search(connection)
             if one.state(now) == "active" and one.username in people]
    remarks = []
    if people:
        then = f"{made_at:%Y-%m-%d %H:%M} UTC"
        remarks.append(f"all sessions are ended, and set-up links are void. {_some(sorted(people))} may log in with the password of {then}. "
                       "Who was disabled since, or has another password: rqflow user disable NAME, rqflow user passwd NAME")
    if valid:
        remarks.append(f"these API tokens let in as at the time of the backup: {_some(valid)}. Revoke again those that were revoked since: "
                       "rqflow token revoke ID")
    return remarks


def _some(names: list[str]) -> str:
    """Return names for a sentence."""
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more
