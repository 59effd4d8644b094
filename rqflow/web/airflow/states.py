"""What rqflow's states are called in Airflow, and which of rqflow's a filter by one of Airflow's means. See docs/reference/airflow-api.md."""

from __future__ import annotations

from collections.abc import Iterable

from rqflow.exceptions import UsageError
from rqflow.states import RunState, TaskState

#: Airflow gives a task that nothing happened to no state; in filters that is called none.
NO_STATE = "none"
#: A state of ours -> Airflow's. One that could run but is held by a pool or a limit is what Airflow's scheduler has looked at; a task whose machine
#: is gone, or that a person stopped, is a failure there, by which its trigger rules count it, as ours do.
OF_TASK: dict[TaskState, str | None] = {
    TaskState.PENDING: None,
    TaskState.PARKED: "scheduled",
    TaskState.QUEUED: "queued",
    TaskState.RUNNING: "running",
    TaskState.SUCCESS: "success",
    TaskState.FAILED: "failed",
    TaskState.SKIPPED: "skipped",
    TaskState.UPSTREAM_FAILED: "upstream_failed",
    TaskState.UP_FOR_RETRY: "up_for_retry",
    TaskState.UP_FOR_RESCHEDULE: "up_for_reschedule",
    TaskState.LOST: "failed",
    TaskState.CANCELLED: "failed",
    TaskState.REMOVED: "removed",
}
OF_RUN: dict[RunState, str] = {
    RunState.QUEUED: "queued",
    RunState.RUNNING: "running",
    RunState.SUCCESS: "success",
    RunState.FAILED: "failed",
    RunState.CANCELLED: "failed",
}
#: States of Airflow that no task is ever in here: a filter may name them, and finds nothing.
_NEVER = frozenset({"restarting", "deferred"})


def of_tasks(names: Iterable[str | None]) -> set[TaskState]:
    """Return the task states that Airflow calls so; raises UsageError for a name that it does not have."""
    return {state for name in names for state in _of_task(name)}


def of_runs(names: Iterable[str | None]) -> set[RunState]:
    """Return the states of runs that Airflow calls so; raises UsageError for a name that it does not have."""
    return {state for name in names for state in _of_run(name)}


def _of_task(name: str | None) -> list[TaskState]:
    wanted = None if name in {None, NO_STATE, "null", ""} else name
    found = [state for state, theirs in OF_TASK.items() if theirs == wanted]
    if not found and wanted not in _NEVER:
        raise UsageError(f"{name!r} is no state of a task instance")
    return found


def _of_run(name: str | None) -> list[RunState]:
    found = [state for state, theirs in OF_RUN.items() if theirs == name]
    if not found:
        raise UsageError(f"{name!r} is no state of a DAG run")
    return found
