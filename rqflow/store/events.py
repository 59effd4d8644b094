"""The log of events: state changes as the recorder writes them, and what people did."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, select, tuple_

from rqflow import clock
from rqflow.store.conventions import KEY
from rqflow.store.engine import Connection
from rqflow.store.tables import event_log
from rqflow.store.types import clean
from rqflow.store.upsert import Rule, upsert

#: Kinds of events: of a task instance, of a run, the end of a try that came too late, a note that changes no state, a deed of a person, the end
#: of a call of an author's functions, one that nobody could read.
TASK, RUN, LATE, NOTE, AUDIT, CALLBACK, UNREADABLE = "ti", "run", "late", "note", "audit", "callback", "unreadable"
#: Characters of an unreadable event that are kept: its size may be what is wrong with it.
MOST_KEPT = 1_000_000
_ONCE = Rule(table=event_log)


@dataclass(frozen=True, kw_only=True, slots=True)
class EventRecord:
    """One event; the columns of table event_log."""

    #: Order, microseconds since the epoch, and what tells events of the same microsecond apart.
    seq: int
    source: str
    kind: str
    #: The new state, or what was done.
    event: str
    dag_id: str
    run_key: str
    task_id: str
    try_number: int | None
    who: str
    detail: str

    @property
    def at(self) -> datetime:
        """When it happened."""
        return clock.from_micros(self.seq)


@dataclass(frozen=True, kw_only=True, slots=True)
class EventFilter:
    """Which events to list; what is None does not matter."""

    dag_id: str | None = None
    run_key: str | None = None
    task_id: str | None = None
    kinds: Collection[str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    #: Whose deed, and what it was.
    who: str | None = None
    event: str | None = None


def add(connection: Connection, event: str, *, who: str, dag_id: str = "", run_key: str = "", task_id: str = "", **given: Any) -> None:
    """Write down what a person did (`event`: paused, cleared, triggered …), and what was `given` for it, as JSON."""
    detail = as_text(given) if given else ""
    _write(connection, {
        "seq": clock.to_micros(clock.utcnow()), "source": secrets.token_hex(KEY // 2), "kind": AUDIT, "event": event, "who": who,
        "dag_id": dag_id, "run_key": run_key, "task_id": task_id, "try_number": None, "detail": detail,
    })


def keep_unreadable(connection: Connection, event: Any, problem: str) -> None:
    """Keep an event that could not be applied as it came (but no more than MOST_KEPT of it), so that nothing is lost and nothing is held up by it."""
    text = as_text({"problem": problem, "event": event})[:MOST_KEPT]
    _write(connection, {
        "seq": _seq_of(event), "source": source_of(text), "kind": UNREADABLE, "event": "kept", "who": "", "dag_id": "", "run_key": "",
        "task_id": "", "try_number": None, "detail": text,
    })


def record(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write state changes as events tell them, all columns; one that is there already changes nothing."""
    upsert(connection, _ONCE, rows)


def search(
    connection: Connection, wanted: EventFilter | None = None, *, limit: int | None = None, after: tuple[int, str] | None = None,
) -> list[EventRecord]:
    """Return the events that pass, newest first; with `after`, a (seq, source), those that follow it in that order."""
    wanted = wanted or EventFilter()
    columns = event_log.c
    query = select(event_log).order_by(columns.seq.desc(), columns.source.desc()).limit(limit)
    named = ((columns.dag_id, wanted.dag_id), (columns.run_key, wanted.run_key), (columns.task_id, wanted.task_id), (columns.who, wanted.who),
             (columns.event, wanted.event))
    for column, value in named:
        query = query if value is None else query.where(column == clean(value))
    if wanted.kinds is not None:
        query = query.where(columns.kind.in_(wanted.kinds))
    if wanted.since is not None:
        query = query.where(columns.seq >= clock.to_micros(wanted.since))
    if wanted.until is not None:
        query = query.where(columns.seq < clock.to_micros(wanted.until))
    if after is not None:
        query = query.where(tuple_(columns.seq, columns.source) < (after[0], clean(after[1])))
    return [_record(row) for row in connection.execute(query).mappings()]


def as_text(given: Any) -> str:
    """Return what a detail column holds of `given`: JSON, the same for equal values."""
    return json.dumps(given, default=str, sort_keys=True)


def source_of(*parts: object) -> str:
    """Return the 16 hex digits that name what an event is about: the same parts, the same digits."""
    return hashlib.blake2b("\0".join(map(str, parts)).encode("utf-8", "replace"), digest_size=KEY // 2).hexdigest()


def _write(connection: Connection, row: dict[str, Any]) -> None:
    record(connection, [{name: clean(value) if isinstance(value, str) else value for name, value in row.items()}])


def _seq_of(event: Any) -> int:
    """Return the event's own order, else the time now."""
    try:
        return min(abs(int(event["seq"])), (1 << 63) - 1)
    except (TypeError, KeyError, ValueError, OverflowError):
        return clock.to_micros(clock.utcnow())


def _record(row: RowMapping) -> EventRecord:
    return EventRecord(**row)
