"""Operations on the messages to people."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

from rqflow import clock
from rqflow.actions import notices
from rqflow.actions.notices import Shown
from rqflow.api.dags import within
from rqflow.api.hub import Hub
from rqflow.api.operation import Page, about, operation
from rqflow.exceptions import UsageError
from rqflow.security.roles import Role
from rqflow.store.notices import STATES


@dataclass(frozen=True, kw_only=True, slots=True)
class ListNotices:
    """Which messages."""

    dag_id: str | None = about("Only messages about this DAG.", None)
    state: list[str] = about("Only messages in one of these states.", [])
    since: datetime | None = about("Only messages made at or after this time.", None)
    limit: int = about("At most so many.", 50)
    after: str | None = about("Only messages made before this one: `next` of the page before.", None)


@operation("notices.list", "GET", "/notices", Role.ADMIN)
def list_notices(hub: Hub, asked: ListNotices) -> Page[Shown]:
    """List messages, the newest first, with what is wrong with those that were not sent."""
    if odd := [one for one in asked.state if one not in STATES]:
        raise UsageError(f"state: {odd[0][:50]!r} is none of {', '.join(STATES)}")
    since, limit = clock.aware(asked.since) if asked.since else None, within(asked.limit)
    found = notices.list_messages(hub.engine, dag_id=asked.dag_id, states=asked.state, since=since, limit=limit + 1, after=asked.after)
    return Page(items=tuple(found[:limit]), next=found[limit - 1].message_id if len(found) > limit else None)


@dataclass(frozen=True, kw_only=True, slots=True)
class OneNotice:
    """Which message."""

    message: str = about("Its id, or the beginning of it.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter(Shown):
    """A message with what it says."""

    subject: str = ""
    text: str = ""


@operation("notices.get", "GET", "/notices/{message}", Role.ADMIN)
def get_notice(hub: Hub, asked: OneNotice) -> Letter:
    """Show a message, and what it says, as far as the history still knows it."""
    found, letter = notices.show(hub.engine, hub.settings, asked.message)
    return Letter(**{field.name: getattr(found, field.name) for field in fields(Shown)}, subject=letter.subject, text=letter.text)


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryNotices:
    """Which messages are tried again."""

    messages: list[str] = about("Their ids, or the beginnings of them.", [])
    every: bool = about("All that were refused, given up or not sent.", False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Retried:
    """So many are tried again."""

    count: int


@operation("notices.retry", "POST", "/notices/retry", Role.ADMIN)
def retry_notices(hub: Hub, asked: RetryNotices) -> Retried:
    """Let messages be tried again that were refused, given up or not sent; the scheduler sends them."""
    if bool(asked.messages) == asked.every:
        raise UsageError("name the messages, or say every")
    return Retried(count=notices.again(hub.engine, None if asked.every else asked.messages, by=hub.person.name))
