"""What people did, a page of it and how much there is: for clients that page by number."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select

from rqflow import clock
from rqflow.store import events
from rqflow.store.engine import Connection
from rqflow.store.events import EventRecord
from rqflow.store.tables import dag_run, event_log
from rqflow.store.types import clean

#: What orders them.
SEQ, DAG_ID, TASK_ID, EVENT, WHO = "seq", "dag_id", "task_id", "event", "who"


@dataclass(frozen=True, kw_only=True, slots=True)
class EventPage:
    """Which deeds, in which order, and which of these; what is None does not matter."""

    seq: int | None = None
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    try_number: int | None = None
    event: str | None = None
    who: str | None = None
    #: Before and after these moments.
    before: datetime | None = None
    after: datetime | None = None
    #: Only these deeds, and none of these.
    included: Collection[str] | None = None
    excluded: Collection[str] | None = None
    order: str = SEQ
    descends: bool = False
    offset: int = 0
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Placed:
    """A deed, and what is known of the run that it was done to."""

    record: EventRecord
    run_id: str | None
    logical_date: datetime | None


def page(connection: Connection, wanted: EventPage) -> tuple[list[Placed], int]:
    """Return the deeds of a page, and how many pass in all."""
    joined = event_log.outerjoin(dag_run, dag_run.c.run_key == event_log.c.run_key)
    conditions = _conditions(wanted)
    total = connection.execute(select(func.count()).select_from(joined if wanted.run_id is not None else event_log).where(*conditions)).scalar_one()
    column = event_log.c[wanted.order]
    query = select(event_log, dag_run.c.run_id, dag_run.c.logical_date).select_from(joined).where(*conditions)
    query = query.order_by(column.desc() if wanted.descends else column, event_log.c.seq, event_log.c.source)
    rows = connection.execute(query.limit(wanted.limit).offset(wanted.offset)).mappings()
    return [Placed(EventRecord(**{name: row[name] for name in EventRecord.__slots__}), row["run_id"], row["logical_date"]) for row in rows], total


def _conditions(wanted: EventPage) -> list[ColumnElement[bool]]:
    own = event_log.c
    found: list[ColumnElement[bool]] = [own.kind == events.AUDIT]
    equal: tuple[tuple[Any, Any], ...] = (
        (own.seq, wanted.seq), (own.dag_id, wanted.dag_id), (dag_run.c.run_id, wanted.run_id), (own.task_id, wanted.task_id),
        (own.try_number, wanted.try_number), (own.event, wanted.event), (own.who, wanted.who))
    found += [column == (clean(value) if isinstance(value, str) else value) for column, value in equal if value is not None]
    found += [own.seq < clock.to_micros(wanted.before)] if wanted.before else []
    found += [own.seq > clock.to_micros(wanted.after)] if wanted.after else []
    found += [own.event.in_(list(wanted.included))] if wanted.included else []
    found += [own.event.not_in(list(wanted.excluded))] if wanted.excluded else []
    return found
