"""Which events may be told: they are noted in the same transaction that writes them into the history. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from rqflow import clock
from rqflow.states import RunState, TaskState
from rqflow.store import notices
from rqflow.store.events import source_of
from rqflow.store.notices import Notice

#: What an end of a try is to people. A lost try that gets another one is told as that: both events have one key, and the later one stays.
KINDS = {
    TaskState.FAILED: notices.FAILURE, TaskState.LOST: notices.FAILURE, TaskState.UP_FOR_RETRY: notices.RETRY, TaskState.SUCCESS: notices.SUCCESS,
}
#: The note that a try has been unreachable for worker.notice_after.
NOTICE = "notice"
#: How the reason of what a person did begins: that is told to nobody, for who did it knows.
MARKED = "marked "


def rows(ends: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]], run_states: Iterable[Mapping[str, Any]], tell_success: Collection[str],
         ) -> list[dict[str, Any]]:
    """Return the notices of what was recorded: ends of tries (events in a state of KINDS, and their rows), and rows of runs.

    A success may be told to somebody in the runs `tell_success` only, or after other tries (a recovery).
    """
    return [*(_of_end(event, row) for event, row in ends if row["state"] in KINDS and _is_told(event, row, tell_success)),
            *(_of_run(row) for row in run_states if row["state"] == RunState.FAILED.value)]


def _is_told(event: Mapping[str, Any], row: Mapping[str, Any], tell_success: Collection[str]) -> bool:
    """Tell whether the end of a try may be told. What was marked, or passed by itself, was no worker's."""
    state = row["state"]
    if state == TaskState.SUCCESS.value:
        return (row["try_number"] > 1 or row["run_key"] in tell_success) and "facts" in event and not row["reason"].startswith(MARKED)
    return (state != TaskState.FAILED.value or "facts" in event) and not row["reason"].startswith(MARKED)


def _of_end(event: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "notice_key": source_of("end of a try", row["run_key"], row["task_id"], row["try_number"]), "kind": KINDS[TaskState(row["state"])],
        "dag_id": event["dag"], "run_key": row["run_key"], "task_id": row["task_id"], "try_number": row["try_number"], "seq": row["seq"],
        "detail": row["reason"],
    }


def _of_run(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the notice of a run that failed, for counting."""
    return {
        "notice_key": source_of("run failed", row["run_key"], row["seq"]), "kind": notices.RUN_FAILED, "dag_id": row["dag_id"],
        "run_key": row["run_key"], "task_id": "", "try_number": 0, "seq": row["seq"], "detail": "",
    }


def of_unreachable(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the notice of a try that has been unreachable for long, from the row of that in event_log."""
    return {
        "notice_key": source_of("unreachable", row["run_key"], row["task_id"], row["try_number"], row["seq"]), "kind": notices.UNREACHABLE,
        "dag_id": row["dag_id"], "run_key": row["run_key"], "task_id": row["task_id"], "try_number": row["try_number"] or 0, "seq": row["seq"],
        "detail": f"{row['who']} is not heard of; the task counts as running still",
    }


def of_miss(dag_id: str, run_key: str, task_id: str, due_at: datetime) -> dict[str, Any]:
    """Return the notice of an sla that was missed."""
    detail = f"it had not ended by {due_at:%Y-%m-%d %H:%M:%S} UTC"
    return {
        "notice_key": source_of("sla", run_key, task_id), "kind": notices.SLA, "dag_id": dag_id, "run_key": run_key, "task_id": task_id,
        "try_number": 0, "seq": clock.to_micros(due_at), "detail": detail,
    }


def of_pause(last: Notice, failed: int) -> dict[str, Any]:
    """Return the notice that a DAG was paused after so many failed runs in a row, of which `last` tells."""
    return {
        "notice_key": source_of("paused", last.run_key, last.seq), "kind": notices.PAUSED, "dag_id": last.dag_id, "run_key": last.run_key,
        "task_id": "", "try_number": 0, "seq": last.seq, "detail": f"its last {failed} run{'s' if failed > 1 else ''} failed",
    }
