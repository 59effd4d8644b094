"""Why a task does not run: one reason for each case, and what lifts it (reliability R46)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from rqflow.actions.why import View, explain
from rqflow.broker.epochs import EpochSeen, MachineSeen
from rqflow.broker.status import PoolStatus, TaskStatus, WorkerStatus
from rqflow.states import TaskState
from tests.unit.builders import a_task

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
OPEN = EpochSeen(server="s", about="s", number=1, is_open=True)


def a_status(state: TaskState, **more: Any) -> TaskStatus:
    known = {"index": 0, "task_id": "a", "state": state, "try_number": 1, "max_tries": 3, "reason": "", "worker": "", "queue": "default", "job_id": "j",
             "execution_id": "", "queued_at": None, "started_at": None, "ended_at": None, "due_at": None, "cancel_requested": False}
    return TaskStatus(**{**known, **more})


def a_worker(name: str = "w1", *, running: int = 0, queues: tuple[str, ...] = ("default",), state: str = "idle") -> WorkerStatus:
    return WorkerStatus(name=name, host="h", pid=1, state=state, queues=queues, labels=(), slots=4, running=running, last_heartbeat=NOON)


def a_view(state: TaskState, *, task: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **more: Any) -> View:
    return View(**{"task": a_task("a", **(task or {})), "status": a_status(state, **(status or {})), "epoch": OPEN, "workers": (a_worker(),), **more})


WAITS = {"machines": {"m1.w": MachineSeen("m1.w", "w1", ("default",))}, "closed_queues": frozenset({"default"})}
CASES = {
    "upstream": (a_view(TaskState.PENDING, upstream={"u": TaskState.RUNNING, "v": TaskState.SUCCESS}), "it waits for u (running)", "the end of that"),
    "trigger rule": (a_view(TaskState.PENDING, task={"trigger_rule": "one_failed"}, upstream={"u": TaskState.QUEUED}), "trigger rule one_failed", "end"),
    "pool": (a_view(TaskState.PARKED, task={"pool": "disk"}, status={"reason": "pool disk is full"}, pool=PoolStatus(slots=2, used=2, parked=1),
                    holders=["x of r1", "y of r1"]), "pool disk is full: 2 of 2 slots are in use, held by x of r1, y of r1", "rqflow pool set disk N"),
    "concurrency": (a_view(TaskState.PARKED, status={"reason": "max_active_tasks of d reached"}, holders=["x of r1"]),
                    "max_active_tasks of d reached, held by x of r1", "the end of one of those"),
    "label": (a_view(TaskState.PARKED, task={"worker_labels": ("gpu",)}, status={"reason": "no worker with its labels asked yet"}), ": gpu", "--label gpu"),
    "other worker": (a_view(TaskState.PARKED, status={"reason": "retry_on_other_worker: waits for another worker than that on h.w"}),
                     "waits for another worker than that on h.w", "a free slot of another worker"),
    "start_date": (a_view(TaskState.REMOVED, task={"start_date": "2027-01-01T00:00:00+00:00"}), "lies outside of its start_date 2027-01-01T00", ""),
    "past": (a_view(TaskState.PARKED, status={"reason": "depends_on_past: a of the run before, r0, is failed"}), "a of the run before, r0, is failed",
             "rqflow task clear"),
    "past runs": (a_view(TaskState.PARKED, status={"reason": "wait_for_downstream: b of the run before, r0, has not ended"}), "b of the run before",
                  "its end"),
    "active runs": (a_view(TaskState.PENDING, active_runs=["r0"]), "max_active_runs of its DAG is reached by r0", "the end of one of those"),
    "lost": (a_view(TaskState.PARKED, status={"reason": "lost; on_lost=wait: a person must clear or mark it"}), "on_lost=wait", "rqflow task clear"),
    "no worker": (a_view(TaskState.QUEUED, workers=(a_worker(queues=("other",)),)), "no live worker serves the queue default", "rqflow worker -Q default"),
    "busy": (a_view(TaskState.QUEUED, workers=(a_worker(running=4),), before_it=7), "all slots of w1 (4/4) are taken, and 7 tasks are before it", "end"),
    "paused workers": (a_view(TaskState.QUEUED, workers=(a_worker("w9", state="paused"), a_worker("w2", queues=("other",)))),
                       "the workers that serve the queue default are paused: w9", "`rqflow worker resume w9`"),
    "one paused worker": (a_view(TaskState.QUEUED, workers=(a_worker("w9", state="paused"), a_worker("w2"))), "w2 (0/4) may take it now", "a moment"),
    "suspended": (a_view(TaskState.QUEUED, is_suspended=True), "suspended by `rq suspend`", "rq resume"),
    "closed queue": (a_view(TaskState.QUEUED, epoch=replace(OPEN, **WAITS)), "what m1.w may still run", "rqflow worker forget"),
    "rebuilding": (a_view(TaskState.QUEUED, epoch=replace(OPEN, is_open=False)), "the scheduler is putting it right", "a moment"),
    "restarted": (a_view(TaskState.QUEUED, epoch=replace(OPEN, server="t"), has_leader=False), "no scheduler runs that puts it right", "rqflow scheduler"),
    "full": (a_view(TaskState.QUEUED, refusal="OOM command not allowed"), "Redis takes no writes: OOM", "room for Redis"),
    "unrecorded": (a_view(TaskState.QUEUED, unrecorded=11, max_unrecorded=10), "11 events are not in the database yet", "rqflow scheduler"),
    "retry": (a_view(TaskState.UP_FOR_RETRY, status={"due_at": NOON, "reason": "exit code 1"}), "try 2 of 3 is due at 2026-11-29 12:00:00 UTC; exit code 1", "12:00"),
    "retry without scheduler": (a_view(TaskState.UP_FOR_RETRY, status={"due_at": NOON}, has_leader=False), "no scheduler runs", "rqflow scheduler"),
    "unreachable": (a_view(TaskState.RUNNING, status={"worker": "w1", "unreachable_since": NOON}), "unreachable since 2026-11-29 12:00:00 UTC", "mark-lost"),
    "cancel": (a_view(TaskState.RUNNING, status={"worker": "w1", "started_at": NOON, "cancel_requested": True}), "a cancel is requested; it runs on w1", "end"),
    "ready": (a_view(TaskState.QUEUED), "w1 (0/4) may take it now", "a moment"),
    "ended": (a_view(TaskState.FAILED, status={"reason": "exit code 3"}), "it has ended: failed, exit code 3", ""),
}


@pytest.mark.parametrize("case", CASES)
def test_r46_each_case_has_one_reason_and_says_what_lifts_it(case: str) -> None:
    view, reason, lifted_by = CASES[case]
    found = explain(view)
    assert reason in found.reason
    assert lifted_by in found.lifted_by
    assert bool(found.lifted_by) == bool(lifted_by)


def test_times_are_said_by_the_clock_of_the_dag_and_by_the_viewers() -> None:
    view = a_view(TaskState.UP_FOR_RETRY, status={"due_at": NOON}, zone="Asia/Tokyo", viewer=ZoneInfo("Europe/Berlin"))
    assert "is due at 2026-11-29 21:00:00 Asia/Tokyo = 2026-11-29 13:00:00 CET" in explain(view).reason


def test_what_stops_everything_is_said_before_what_stops_one_task() -> None:
    view = a_view(TaskState.QUEUED, refusal="full", workers=(), epoch=replace(OPEN, is_open=False))
    assert "Redis takes no writes" in explain(view).reason
