"""Events into the history. Whatever the order of events, and however often they come, the tables end the same."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from rqflow import logs
from rqflow.recorder.reading import Batch, Event, read
from rqflow.store import events as event_log
from rqflow.store import runs, tasks, xcoms
from rqflow.store.engine import Connection

logger = logging.getLogger(__name__)


def apply(connection: Connection, events: Sequence[Event]) -> None:
    """Write what `events` tell: states of runs and task instances, tries, XComs, and one line each in event_log.

    Newer is what has the larger (try, seq). A run that the database does not know gets a row with its names, which runs.create fills
    in later. An event that cannot be read is kept in event_log as it came.
    """
    batch = read(events)
    if batch.runs:
        runs.record_unknown(connection, batch.runs)
    runs.record_states(connection, batch.run_states)
    tasks.record_states(connection, batch.task_states)
    tasks.record_tries(connection, batch.tries)
    _record_late(connection, batch)
    xcoms.record(connection, batch.xcoms)
    event_log.record(connection, batch.log)
    for event, problem in batch.unreadable:
        keep(connection, event, problem)


def keep(connection: Connection, event: Any, problem: str) -> None:
    """Keep an event that cannot be applied in event_log, and say so in the log of this process."""
    logger.error("an event cannot be recorded and is kept in event_log: %s", problem, extra=logs.context("event_unreadable"))
    event_log.keep_unreadable(connection, event, problem)


def _record_late(connection: Connection, batch: Batch) -> None:
    """Find the task ids of late ends that have only an index; what stays unknown is in event_log."""
    late = list(batch.late)
    if batch.late_by_index:
        names = tasks.task_ids(connection, batch.late_by_index)
        for place, rows in batch.late_by_index.items():
            if place in names:
                late += [{**row, "task_id": names[place]} for row in rows]
            else:
                event_log.record(connection, [_evidence(row, place) for row in rows])
    tasks.record_late(connection, late)


def _evidence(row: dict[str, Any], place: tuple[str, int]) -> dict[str, Any]:
    """Return the event_log row of a late end whose task nobody knows, with all that it told."""
    key, index = place
    return {
        "seq": row["late_seq"], "source": event_log.source_of("late", *place, row["try_number"], row["late"]), "kind": event_log.LATE,
        "event": "task unknown", "dag_id": "", "run_key": key, "task_id": "", "try_number": row["try_number"], "who": "",
        "detail": event_log.as_text({"index": index, **row["late"]}),
    }
