"""What people are told: the outbox as they see it, and what a submit says about it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from rqflow import clock
from rqflow.dag.version import Version
from rqflow.exceptions import Conflict
from rqflow.recorder.notices import content, letters
from rqflow.settings import Settings
from rqflow.store import events, notices, runs
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction
from rqflow.store.notices import Message


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A message of the outbox."""

    message_id: str
    #: mailto:ADDRESS, or webhook: or chat: and a name that holds no secret.
    recipient: str
    dag_id: str
    #: Empty when it is about several runs.
    run_id: str
    kind: str
    #: How many notices are in it.
    notices: int
    is_digest: bool
    state: str
    #: What went wrong the last time.
    error: str
    tries: int
    created_at: datetime
    #: When it is tried next; None when it is not.
    due_at: datetime | None
    ended_at: datetime | None

    @property
    def shown_state(self) -> str:
        """The state for people, with what is wrong."""
        state = self.state.replace("_", " ")
        return f"{state}: {self.error.splitlines()[0]}" if self.error and self.state != notices.SENT else state


def list_messages(engine: Engine, *, dag_id: str | None, states: Collection[str], since: datetime | None, limit: int,
                  after: str | None = None) -> list[Shown]:
    """Return the messages that pass, newest first, with `after` those that follow the one of this id. Raises NotFound, UsageError."""
    with reading(engine) as connection:
        last = None if after is None else notices.find(connection, after)
        found = notices.search(connection, dag_id=dag_id, states=states, since=since, limit=limit, after=last)
        return [_shown(connection, one) for one in found]


def show(engine: Engine, settings: Settings, text: str) -> tuple[Shown, letters.Letter]:
    """Return the message whose id begins with `text`, and what it says, as far as the history still knows it; raises NotFound, UsageError."""
    with reading(engine) as connection:
        message = notices.find(connection, text)
        told = content.gather(connection, message, settings)
        return _shown(connection, message), letters.write(told)


def again(engine: Engine, texts: Collection[str] | None, *, by: str) -> int:
    """Let messages be tried again that were refused, given up or not sent: those that `texts` name, or all; return how many.

    Raises NotFound, UsageError, or Conflict for one that is waiting or was sent.
    """
    ids = None
    if texts is not None:
        with reading(engine) as connection:
            found = [notices.find(connection, text) for text in texts]
        for one in found:
            if one.state in {notices.WAITING, notices.SENDING, notices.SENT}:
                raise Conflict(f"message {one.message_id} is {one.state}", hint="Only what was refused, given up or not sent is tried again.")
        ids = [one.message_id for one in found]

    def write(connection: Connection) -> int:
        count = notices.again(connection, ids, clock.utcnow())
        events.add(connection, "notices_retried", who=by, messages=ids or "all", count=count)
        return count

    return run_in_transaction(engine, write)


def warnings(versions: Iterable[Version], settings: Settings) -> list[str]:
    """Return what to say of DAGs that want mail where none is sent."""
    if settings.smtp.smtp_host:
        return []
    return [f"{version.dag_id} has `email`, and no mail is sent from here: no SMTP configured (smtp_host in [smtp])"
            for version in versions if any(_wants_mail(version))]


def _wants_mail(version: Version) -> Iterable[bool]:
    return (bool(task.email) and (task.email_on_failure or task.email_on_retry or task.email_on_success or task.sla is not None)
            for task in version.tasks)


def _shown(connection: Connection, one: Message) -> Shown:
    run = runs.by_key(connection, one.run_key) if one.run_key else None
    is_open = one.state in {notices.WAITING, notices.SENDING}
    return Shown(
        message_id=one.message_id, recipient=one.recipient, dag_id=one.dag_id, run_id=run.run_id if run else "", kind=one.kind, notices=one.notices,
        is_digest=one.is_digest, state=one.state, error=one.error, tries=one.tries, created_at=one.created_at,
        due_at=one.due_at if is_open else None, ended_at=one.ended_at)
