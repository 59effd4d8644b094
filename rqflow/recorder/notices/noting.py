"""Which events may be told: they are noted in the same transaction that writes them into the history. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rqflow import clock
from rqflow.states import RunState, TaskState
from rqflow.store import notices
from rqflow.store.events import source_of
from rqflow.store.notices import Notice

#: What an end of a try is to people. A lost try that gets another one is told as that: both events have one key, and the later one stays.
_KINDS = {
    TaskState.FAILED: notices.FAILURE, TaskState.LOST: notices.FAILURE, TaskState.UP_FOR_RETRY: notices.RETRY, TaskState.SUCCESS: notices.SUCCESS,
}
#: How the reason of what a person did begins: that is told to nobody, for who did it knows.
_MARKED = "marked "


def of_task(event: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the notice of the end of a try, whose row of the history is `row`; None when there is nothing to tell."""
    state = TaskState(row["state"])
    kind = _KINDS.get(state)
    # What was marked, or passed by itself, was no worker's.
    if kind is None or row["reason"].startswith(_MARKED) or (state in {TaskState.FAILED, TaskState.SUCCESS} and "facts" not in event):
        return None
    return {
        "notice_key": source_of("end of a try", row["run_key"], row["task_id"], row["try_number"]), "kind": kind, "dag_id": event["dag"],
        "run_key": row["run_key"], "task_id": row["task_id"], "try_number": row["try_number"], "seq": row["seq"], "detail": row["reason"],
    }


def of_run(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the notice of the end of a run, for counting those that failed; None for any other state."""
    if row["state"] != RunState.FAILED.value:
        return None
    return {
        "notice_key": source_of("run failed", row["run_key"], row["seq"]), "kind": notices.RUN_FAILED, "dag_id": row["dag_id"],
        "run_key": row["run_key"], "task_id": "", "try_number": 0, "seq": row["seq"], "detail": "",
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


def wanted(rows: Iterable[dict[str, Any]], tell_success: set[str]) -> list[dict[str, Any]]:
    """Return those of `rows` that may be told to somebody: a success only of the runs `tell_success`, or after other tries (a recovery)."""
    return [row for row in rows if row["kind"] != notices.SUCCESS or row["try_number"] > 1 or row["run_key"] in tell_success]
