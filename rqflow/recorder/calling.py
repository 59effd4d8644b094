"""Which of what happened an author's functions are called for: noted in the same transaction that writes it into the history. Pure.

Only the kinds that a version has anywhere are noted; whether the task itself has one is looked at when it is called.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from rqflow import clock
from rqflow.dag.callbacks import Kind
from rqflow.recorder.notices.noting import MARKED
from rqflow.states import RunState, TaskState
from rqflow.store.events import as_text, source_of
from rqflow.store.sla import Miss

#: What an end of a try is called. A lost try that gets another one is called a retry by the event that follows.
OF_TASK = {
    TaskState.FAILED.value: Kind.FAILURE, TaskState.LOST.value: Kind.FAILURE, TaskState.UP_FOR_RETRY.value: Kind.RETRY,
    TaskState.SUCCESS.value: Kind.SUCCESS, TaskState.SKIPPED.value: Kind.SKIPPED,
}
OF_RUN = {RunState.FAILED.value: Kind.RUN_FAILURE, RunState.SUCCESS.value: Kind.RUN_SUCCESS}
#: Ends that only a worker can tell: without its facts nothing was run.
_BY_A_WORKER = frozenset({TaskState.FAILED.value, TaskState.SKIPPED.value})


def rows(ends: Collection[tuple[Mapping[str, Any], Mapping[str, Any]]], run_states: Iterable[Mapping[str, Any]],
         wanted: Mapping[str, frozenset[str]]) -> list[dict[str, Any]]:
    """Return the calls for what was recorded: ends of tries (events, and their rows), and rows of runs. `wanted` is {run_key: kinds}.

    A run that ended in the very step in which a person marked its tasks is nobody's success or failure.
    """
    if not wanted and not any(row["version"] for _, row in ends):
        return []
    marked = {(row["run_key"], row["updated_at"]) for _, row in ends if row["reason"].startswith(MARKED)}
    return [*_of_ends(ends, wanted), *_of_runs((row for row in run_states if (row["run_key"], row["ended_at"]) not in marked), wanted)]


def of_misses(run_key: str, misses: Iterable[Miss]) -> dict[str, Any]:
    """Return the call for slas of one run that were missed."""
    these = sorted(misses, key=lambda one: one.task_id)
    seen_at = max(one.seen_at for one in these)
    due = {one.task_id: one.due_at.isoformat() for one in these}
    return _row(Kind.SLA_MISS, these[0].dag_id, run_key, clock.to_micros(seen_at), source_of("callback", run_key, "sla", *due), detail=as_text(due))


def _of_ends(ends: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]], wanted: Mapping[str, frozenset[str]]) -> Iterator[dict[str, Any]]:
    for event, row in ends:
        state, run_key = row["state"], row["run_key"]
        kind = OF_TASK[state]
        # A task that follows another version may have other callbacks than those of its run.
        if kind not in wanted.get(run_key, ()) and not row["version"]:
            continue
        if row["reason"].startswith(MARKED) or (state in _BY_A_WORKER and "facts" not in event):
            continue
        # What passed by itself has no try of its own: each time is another one.
        once = row["try_number"] if "facts" in event or state != TaskState.SUCCESS.value else row["seq"]
        source = source_of("callback", run_key, row["task_id"], once)
        yield _row(kind, event["dag"], run_key, row["seq"], source, task_id=row["task_id"], try_number=row["try_number"],
                   version=row["version"], detail=row["reason"])


def _of_runs(run_states: Iterable[Mapping[str, Any]], wanted: Mapping[str, frozenset[str]]) -> Iterator[dict[str, Any]]:
    for row in run_states:
        kind = OF_RUN.get(row["state"])
        if kind is not None and kind in wanted.get(row["run_key"], ()):
            yield _row(kind, row["dag_id"], row["run_key"], row["seq"], source_of("callback", row["run_key"], row["seq"]))


def _row(kind: Kind, dag_id: str, run_key: str, seq: int, source: str, *, task_id: str = "", try_number: int = 0,
         version: str | None = None, detail: str = "") -> dict[str, Any]:
    return {
        "callback_id": source, "kind": kind.value, "dag_id": dag_id, "run_key": run_key, "task_id": task_id, "try_number": try_number,
        "seq": seq, "version": version, "detail": detail, "created_at": clock.from_micros(seq),
    }
