"""Events into the history. Whatever the order of events, and however often they come, the tables end the same."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from rqflow import logs
from rqflow.recorder import calling
from rqflow.recorder.notices import noting
from rqflow.recorder.reading import Batch, Event, read
from rqflow.store import callbacks, deletions, notices, runs, tasks, xcoms
from rqflow.store import events as event_log
from rqflow.store.engine import Connection
from rqflow.store.runs import Wishes

logger = logging.getLogger(__name__)


def apply(connection: Connection, events: Sequence[Event]) -> None:
    """Write what `events` tell: states of runs and task instances, tries, XComs, notices, and one line each in event_log.

    Newer is what has the larger (try, seq). A run that the database does not know gets a row with its names, which runs.create fills
    in later. An event that cannot be read is kept in event_log as it came. What is told of a run, or DAG, that was deleted is dropped.
    """
    batch = read(events)
    if dropped := _of_deleted(connection, batch, events):
        places = {id(event) for event in dropped}
        batch = read([event for event in events if id(event) not in places])
    wishes = runs.record_unknown(connection, batch.runs) if batch.runs else Wishes()
    runs.record_states(connection, batch.run_states)
    tasks.record_states(connection, batch.task_states)
    tasks.record_tries(connection, batch.tries)
    _record_late(connection, batch)
    xcoms.record(connection, batch.xcoms)
    notices.note(connection, [*noting.rows(batch.ends, batch.run_states, wishes.tell_success), *batch.unreachable])
    callbacks.note(connection, calling.rows(batch.ends, batch.run_states, wishes.callbacks))
    callbacks.end(connection, batch.callbacks)
    event_log.record(connection, batch.log)
    for event, problem in batch.unreadable:
        keep(connection, event, problem)


def _of_deleted(connection: Connection, batch: Batch, events: Sequence[Event]) -> list[Event]:
    """Return those of `events`, of which `batch` was read, that tell of runs and DAGs that were deleted; the log of this process says so."""
    run_keys = {*batch.runs, *(key for key, _ in batch.late_by_index)}
    gone_runs, gone_dags = deletions.among(connection, run_keys, {dag_id for dag_id, _ in batch.runs.values()})
    if not gone_runs and not gone_dags:
        return []
    dropped: list[Event] = [event for event in events if isinstance(event, dict) and (event.get("run") in gone_runs or event.get("dag") in gone_dags)]
    for event in dropped:
        is_late = event.get("kind") == "late"
        logger.log(logging.WARNING if is_late else logging.DEBUG, "dropped: run %s of %s was deleted, and %s of its task %s comes too late",
                   event.get("run_id") or event.get("run"), event.get("dag") or "a DAG", "a result" if is_late else "what is told",
                   event.get("task") or event.get("index", "?"), extra=logs.context("event_of_deleted", run_key=str(event.get("run"))))
    return dropped


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
