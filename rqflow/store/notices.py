"""What people are told: notices as the recorder writes them with the events, who gets them, and the outbox of messages."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, and_, bindparam, case, delete, exists, false, func, insert, or_, select, update

from rqflow.exceptions import NotFound, UsageError
from rqflow.store.conventions import KEY
from rqflow.store.engine import Connection
from rqflow.store.tables import notice, notice_delivery, notice_message
from rqflow.store.types import UtcDateTime, clean
from rqflow.store.upsert import Rule, upsert

#: Kinds of notices. RUN_FAILED is told to nobody: it is for counting; RECOVERY is what a SUCCESS is to those who were told of a failed try.
FAILURE, RETRY, SUCCESS, RECOVERY, SLA, PAUSED, RUN_FAILED = "failure", "retry", "success", "recovery", "sla", "paused", "run_failed"
#: The machine of a running task has not been heard of for long.
UNREACHABLE = "unreachable"
TOLD = (FAILURE, RETRY, SUCCESS, RECOVERY, SLA, PAUSED, UNREACHABLE)
#: The kind of a message about notices of several kinds.
DIGEST = "digest"
#: States of a message. What is refused, given up or not sent stays so until a person says otherwise.
WAITING, SENDING, SENT, REFUSED, GIVEN_UP, NOT_SENT = "waiting", "sending", "sent", "refused", "given_up", "not_sent"
STATES = (WAITING, SENDING, SENT, REFUSED, GIVEN_UP, NOT_SENT)
MAIL, WEBHOOK, CHAT = "mailto:", "webhook:", "chat:"

_NOTICES = Rule(table=notice, order=("seq",), fixed=frozenset({"is_sorted"}))
_ONCE = Rule(table=notice_delivery)
#: Asked all the time, so it is one statement, and built once.
_NOW = bindparam("now", type_=UtcDateTime())
_PENDING = select(
    exists().where(notice.c.is_sorted == false()), exists().where(notice_delivery.c.message_id == "", notice_delivery.c.wait_until <= _NOW),
    exists().where(notice_message.c.state.in_((WAITING, SENDING)), notice_message.c.due_at <= _NOW))


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """Something that people may want to be told; the columns of table notice."""

    notice_key: str
    kind: str
    dag_id: str
    run_key: str
    task_id: str
    try_number: int
    seq: int
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """A notice for one recipient."""

    notice_key: str
    recipient: str
    dag_id: str
    run_key: str
    kind: str
    part: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Heap:
    """What waits to be told to one recipient in one message."""

    recipient: str
    dag_id: str
    run_key: str
    kind: str
    part: int
    first_at: datetime
    last_at: datetime
    count: int
    is_held: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One message of the outbox; the columns of table notice_message."""

    message_id: str
    recipient: str
    dag_id: str
    run_key: str
    kind: str
    notices: int
    is_digest: bool
    state: str
    tries: int
    due_at: datetime
    error: str
    created_at: datetime
    ended_at: datetime | None


def note(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write notices: notice_key, kind, dag_id, run_key, task_id, try_number, seq, detail. One that is there already changes nothing by itself."""
    upsert(connection, _NOTICES, [{**row, "is_sorted": False} for row in rows])


def unsorted(connection: Connection, limit: int) -> list[Notice]:
    """Return notices of which nobody has said yet who is told, oldest first."""
    query = select(*(notice.c[name] for name in Notice.__slots__)).where(notice.c.is_sorted == false()).order_by(notice.c.seq).limit(limit)
    return [Notice(**row) for row in connection.execute(query).mappings()]


def settle(connection: Connection, keys: Collection[str], deliveries: Sequence[Delivery], now: datetime) -> None:
    """Say of the notices `keys` who is told. Those that nobody is told of are forgotten."""
    rows = [{**{name: getattr(one, name) for name in Delivery.__slots__}, "noted_at": now, "wait_until": now, "is_held": False, "message_id": ""}
            for one in deliveries]
    upsert(connection, _ONCE, rows)
    told = {one.notice_key for one in deliveries}
    forgotten = [key for key in keys if key not in told]
    if told:
        connection.execute(update(notice).where(notice.c.notice_key.in_(sorted(told))).values(is_sorted=True))
    if forgotten:
        connection.execute(delete(notice).where(notice.c.notice_key.in_(sorted(forgotten))))


def told_of_failures(connection: Connection, run_key: str, task_id: str) -> set[str]:
    """Return the recipients that were, or will be, told of a failed try of this task instance."""
    query = select(notice_delivery.c.recipient).join(notice, notice.c.notice_key == notice_delivery.c.notice_key)
    query = query.where(notice.c.run_key == run_key, notice.c.task_id == task_id, notice.c.kind.in_((FAILURE, RETRY)))
    return set(connection.execute(query).scalars())


def heaps(connection: Connection, now: datetime) -> list[Heap]:
    """Return what waits to be put into messages, apart from what is held until later."""
    columns = notice_delivery.c
    group = (columns.recipient, columns.dag_id, columns.run_key, columns.kind, columns.part)
    query = select(
        *group, func.min(columns.noted_at).label("first_at"), func.max(columns.noted_at).label("last_at"), func.count().label("count"),
        func.max(case((columns.is_held, 1), else_=0)).label("held"),
    ).where(columns.message_id == "", columns.wait_until <= now).group_by(*group)
    rows = connection.execute(query.order_by(func.min(columns.noted_at))).mappings()
    return [Heap(**{name: row[name] for name in Heap.__slots__ if name != "is_held"}, is_held=bool(row["held"])) for row in rows]


def hold(connection: Connection, recipient: str, dag_id: str, until: datetime) -> None:
    """Keep what waits for this recipient of this DAG until then, for a digest."""
    connection.execute(update(notice_delivery).where(*_waiting(recipient, dag_id)).values(wait_until=until, is_held=True))


def put_together(connection: Connection, heap: Heap, now: datetime, *, whole_dag: bool = False) -> str:
    """Make a message of a heap, or with `whole_dag` of all that waits for its recipient of its DAG; return its id, empty when nothing waits."""
    message_id = secrets.token_hex(KEY // 2)
    which = _waiting(heap.recipient, heap.dag_id)
    columns = notice_delivery.c
    if not whole_dag:
        which += (columns.run_key == heap.run_key, columns.kind == heap.kind, columns.part == heap.part)
    count = connection.execute(update(notice_delivery).where(*which).values(message_id=message_id)).rowcount
    if not count:
        return ""
    mine = columns.message_id == message_id
    kinds = connection.execute(select(columns.kind).where(mine).distinct()).scalars().all()
    runs = connection.execute(select(columns.run_key).where(mine).distinct().limit(2)).scalars().all()
    connection.execute(insert(notice_message).values(
        message_id=message_id, recipient=heap.recipient, dag_id=heap.dag_id, run_key=runs[0] if len(runs) == 1 else "",
        kind=kinds[0] if len(kinds) == 1 else DIGEST, notices=count, is_digest=whole_dag, state=WAITING, tries=0, due_at=now, error="",
        created_at=now, ended_at=None))
    return message_id


def free_at(connection: Connection, recipient: str, dag_id: str, now: datetime, cap: int, period: timedelta) -> datetime | None:
    """Return when the recipient may get the next message of this DAG; None: now.

    It may get `cap` of them in a `period`; after that, one digest a period, until a period has gone by without one.
    """
    columns = notice_message.c
    query = select(columns.created_at, columns.is_digest).where(
        columns.dag_id == dag_id, columns.recipient == recipient, columns.created_at > now - period)
    recent = connection.execute(query.order_by(columns.created_at.desc()).limit(cap)).all()
    digests = [row.created_at for row in recent if row.is_digest]
    times: list[datetime] = [digests[0]] if digests else []
    if len(recent) >= cap:
        times.append(recent[-1].created_at)
    return max(times) + period if times else None


def due(connection: Connection, channel: str, now: datetime, limit: int) -> list[Message]:
    """Return the messages of a channel (MAIL, WEBHOOK, CHAT) that are to be sent now, oldest first."""
    columns = notice_message.c
    query = select(notice_message).where(columns.state.in_((WAITING, SENDING)), columns.due_at <= now, columns.recipient.startswith(channel))
    return [_message(row) for row in connection.execute(query.order_by(columns.due_at, columns.created_at).limit(limit)).mappings()]


def pending(connection: Connection, now: datetime) -> tuple[bool, list[str]]:
    """Return whether there is something to be sorted or put together, and recipients of messages that are to be sent now."""
    is_new, is_apart, is_due = connection.execute(_PENDING, {"now": now}).one()
    if not is_due:
        return bool(is_new or is_apart), []
    query = select(notice_message.c.recipient).where(notice_message.c.state.in_((WAITING, SENDING)), notice_message.c.due_at <= now)
    return bool(is_new or is_apart), list(connection.execute(query.distinct()).scalars())


def unsent(connection: Connection) -> int:
    """Return how much is still to be done: messages that wait, deliveries and notices that are no messages yet."""
    waiting = select(func.count()).select_from(notice_message).where(notice_message.c.state.in_((WAITING, SENDING)))
    apart = select(func.count()).select_from(notice_delivery).where(notice_delivery.c.message_id == "")
    new = select(func.count()).select_from(notice).where(notice.c.is_sorted == false())
    return sum(int(connection.execute(query).scalar_one()) for query in (waiting, apart, new))


def claim(connection: Connection, message: Message, now: datetime, until: datetime) -> bool:
    """Say that a message is being sent, which nobody else may do before `until`; False when somebody does, or did."""
    columns = notice_message.c
    query = update(notice_message).where(columns.message_id == message.message_id, columns.state.in_((WAITING, SENDING)), columns.due_at <= now)
    return connection.execute(query.values(state=SENDING, tries=columns.tries + 1, due_at=until)).rowcount == 1


def end(connection: Connection, message_id: str, state: str, now: datetime, error: str = "") -> None:
    """Say how a message ended: sent, refused, given up, not sent."""
    query = update(notice_message).where(notice_message.c.message_id == message_id, notice_message.c.state == SENDING)
    connection.execute(query.values(state=state, error=clean(error), ended_at=now))


def postpone(connection: Connection, message_id: str, until: datetime, error: str) -> None:
    """Say that a message could not be sent, and when it is tried again."""
    query = update(notice_message).where(notice_message.c.message_id == message_id, notice_message.c.state == SENDING)
    connection.execute(query.values(state=WAITING, due_at=until, error=clean(error)))


def postpone_all(connection: Connection, server: str, now: datetime, until: datetime, error: str) -> None:
    """Say of all messages that are due, to recipients that begin with `server`, that they cannot be sent now, for it is away."""
    columns = notice_message.c
    which = (columns.state == WAITING, columns.due_at <= now, columns.recipient.startswith(server, autoescape=True))
    connection.execute(update(notice_message).where(*which).values(due_at=until, error=clean(error)))


def again(connection: Connection, message_ids: Collection[str] | None, now: datetime) -> int:
    """Let messages that were refused, given up or not sent (those of these ids, or all) be tried again; return how many."""
    columns = notice_message.c
    which = [columns.state.in_((REFUSED, GIVEN_UP, NOT_SENT))]
    if message_ids is not None:
        which.append(columns.message_id.in_(list(message_ids)))
    return connection.execute(update(notice_message).where(*which).values(state=WAITING, due_at=now, created_at=now, ended_at=None)).rowcount


def search(connection: Connection, *, dag_id: str | None = None, states: Collection[str] = (), since: datetime | None = None,
           limit: int | None = None, after: Message | None = None) -> list[Message]:
    """Return the messages that pass, newest first, with `after` those that follow that one; what is None or empty does not matter."""
    columns = notice_message.c
    query = select(notice_message).order_by(columns.created_at.desc(), columns.message_id).limit(limit)
    if dag_id is not None:
        query = query.where(columns.dag_id == dag_id)
    if states:
        query = query.where(columns.state.in_(list(states)))
    if since is not None:
        query = query.where(columns.created_at >= since)
    if after is not None:
        same_time = and_(columns.created_at == after.created_at, columns.message_id > after.message_id)
        query = query.where(or_(columns.created_at < after.created_at, same_time))
    return [_message(row) for row in connection.execute(query).mappings()]


def find(connection: Connection, text: str) -> Message:
    """Return the message whose id begins with `text`; raises NotFound, or UsageError when there are several."""
    query = select(notice_message).where(notice_message.c.message_id.startswith(text, autoescape=True))
    rows = connection.execute(query.limit(2)).mappings().all() if text else []
    if not rows:
        raise NotFound(f"there is no message {text}", hint="`rqflow notice list` shows them.")
    if len(rows) > 1:
        raise UsageError(f"{text} is not one message", hint="Give more of its id.")
    return _message(rows[0])


def contents(connection: Connection, message_id: str, limit: int) -> list[tuple[Notice, str]]:
    """Return the notices of a message, at most `limit`, and what kind each is to its recipient, in the order of their events."""
    query = select(*(notice.c[name] for name in Notice.__slots__), notice_delivery.c.kind.label("told_as"))
    query = query.join(notice_delivery, notice_delivery.c.notice_key == notice.c.notice_key).where(notice_delivery.c.message_id == message_id)
    rows = connection.execute(query.order_by(notice.c.seq, notice.c.notice_key).limit(limit)).mappings()
    return [(Notice(**{name: row[name] for name in Notice.__slots__}), row["told_as"]) for row in rows]


def tally(connection: Connection, message_id: str) -> dict[str, int]:
    """Return {kind: number of the notices of a message}."""
    columns = notice_delivery.c
    query = select(columns.kind, func.count()).where(columns.message_id == message_id).group_by(columns.kind)
    return {kind: count for kind, count in connection.execute(query)}  # noqa: C416 (a row is no pair for mypy)


def _waiting(recipient: str, dag_id: str) -> tuple[ColumnElement[bool], ...]:
    columns = notice_delivery.c
    return (columns.message_id == "", columns.recipient == recipient, columns.dag_id == dag_id)


def _message(row: RowMapping) -> Message:
    return Message(**row)
