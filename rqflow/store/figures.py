"""What metrics ask of the history: what ended in a stretch of time, and how all stands now. Each question is bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, func, select

from rqflow.states import BackfillState, RunState, TaskState
from rqflow.store import dag_files, events
from rqflow.store.engine import Connection
from rqflow.store.tables import backfill, dag, dag_run, event_log, notice_message, task_instance, task_try

#: A message that was made longer ago than that has been sent, or given up (notices.give_up_after).
_OLD_MESSAGES = timedelta(days=7)
_SENT, _LOST = "sent", ("given_up", "refused", "not_sent")


@dataclass(frozen=True, slots=True)
class Happening:
    """One change of a state, with what is known of the try or run that it is about."""

    seq: int
    kind: str
    #: The new state.
    event: str
    dag_id: str
    run_key: str
    task_id: str
    try_number: int | None
    queue: str | None
    started_at: datetime | None
    ended_at: datetime | None
    max_rss_bytes: int | None
    log_bytes: int | None
    run_type: str | None
    run_started_at: datetime | None
    run_ended_at: datetime | None
    due_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How all stands now."""

    #: {state: DAGs}, the names of those that are there, DAG files that cannot be loaded.
    dags: dict[str, int]
    dag_ids: tuple[str, ...]
    broken_files: int
    #: {(dag_id, state): unfinished runs}, {queue: since when its oldest queued task waits}, {state: unfinished backfills}.
    runs: dict[tuple[str, str], int]
    oldest: dict[str, datetime]
    backfills: dict[str, int]
    #: Messages to people that wait to be sent.
    messages: int


def happened(connection: Connection, after: int, upto: int, limit: int) -> Sequence[Happening]:
    """Return the changes of states with after < seq <= upto (microseconds), the oldest first, at most `limit`."""
    log, tried, run = event_log.c, task_try.c, dag_run.c
    own = and_(log.kind == events.TASK, tried.run_key == log.run_key, tried.task_id == log.task_id, tried.try_number == log.try_number)
    query = (
        select(log.seq, log.kind, log.event, log.dag_id, log.run_key, log.task_id, log.try_number, tried.queue, tried.started_at, tried.ended_at,
               tried.max_rss_bytes, tried.log_bytes, run.run_type, run.started_at, run.ended_at, run.data_interval_end)
        .select_from(event_log.outerjoin(task_try, own).outerjoin(dag_run, and_(log.kind == events.RUN, run.run_key == log.run_key)))
        .where(log.seq > after, log.seq <= upto, log.kind.in_((events.TASK, events.RUN))).order_by(log.seq, log.source).limit(limit))
    return [Happening(*tuple(row)) for row in connection.execute(query)]


def messages_ended(connection: Connection, after: datetime, upto: datetime) -> list[tuple[str, bool]]:
    """Return (recipient, whether it was sent) of the messages that were sent, or given up, in after < time <= upto."""
    message = notice_message.c
    query = select(message.recipient, message.state).where(
        message.created_at > after - _OLD_MESSAGES, message.ended_at > after, message.ended_at <= upto, message.state.in_((_SENT, *_LOST)))
    return [(recipient, state == _SENT) for recipient, state in connection.execute(query)]


def oldest_queued(connection: Connection) -> dict[str, datetime]:
    """Return {queue: since when its oldest queued task waits}."""
    waits = (select(task_instance.c.queue, func.min(task_instance.c.updated_at)).where(task_instance.c.state == TaskState.QUEUED.value)
             .group_by(task_instance.c.queue))
    return {queue: since for queue, since in connection.execute(waits) if since}


def stand(connection: Connection) -> Standing:
    """Return how all stands."""
    dags = {"active": 0, "paused": 0, "inactive": 0}
    flags = dag.c.is_active, dag.c.is_paused
    for is_active, is_paused, count in connection.execute(select(*flags, func.count()).group_by(*flags)):
        dags["inactive" if not is_active else "paused" if is_paused else "active"] += count
    own, open_states = (dag_run.c.dag_id, dag_run.c.state), (RunState.QUEUED.value, RunState.RUNNING.value)
    unfinished = select(*own, func.count()).where(dag_run.c.state.in_(open_states)).group_by(*own)
    going = [state.value for state in (BackfillState.QUEUED, BackfillState.RUNNING, BackfillState.PAUSED)]
    filling = select(backfill.c.state, func.count()).where(backfill.c.state.in_(going)).group_by(backfill.c.state)
    unsent = select(func.count()).select_from(notice_message).where(notice_message.c.state.in_(("waiting", "sending")))
    return Standing(
        dags=dags, dag_ids=tuple(connection.execute(select(dag.c.dag_id).where(dag.c.is_active).order_by(dag.c.dag_id)).scalars()),
        broken_files=len(dag_files.broken(connection)),
        runs={(dag_id, state): count for dag_id, state, count in connection.execute(unfinished)},
        oldest=oldest_queued(connection),
        backfills={row[0]: row[1] for row in connection.execute(filling)},
        messages=int(connection.execute(unsent).scalar_one()),
    )
