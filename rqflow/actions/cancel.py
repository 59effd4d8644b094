"""Cancelling runs."""

from __future__ import annotations

from rqflow.broker.broker import Broker
from rqflow.broker.messages import Ending
from rqflow.exceptions import Conflict
from rqflow.states import TERMINAL_RUN_STATES, TERMINAL_STATES, RunState, TaskState
from rqflow.store import events
from rqflow.store.engine import Connection, Engine, run_in_transaction
from rqflow.store.runs import RunRecord

#: What to do about a run that Redis holds nothing of, and about one that it holds in part.
_AFTER_LOSS = "There is nothing to cancel: what runs of it ends by itself, and no more of it starts. `rqflow submit FILE --run` starts another run."
_AFTER_BREAK = "A scheduler (`rqflow scheduler`) carries the start through within a minute; cancel it then."


def cancel_run(broker: Broker, engine: Engine, run: RunRecord, *, by: str, how: Ending | None = None) -> RunState:
    """Cancel all of a run that has not ended; return its state: `cancelled`, or `running` until running tasks are gone, ended as `how` says.

    Raises Conflict when the run has ended, and when Redis does not hold one that has not.
    """
    status = broker.run_status(run.run_key)
    state = status.state if status else run.state
    if state in TERMINAL_RUN_STATES:
        raise Conflict(f"run {run.run_id} of {run.dag_id} has ended: {state.value}")

    def note(connection: Connection) -> None:
        events.add(connection, "run_cancelled", who=by, dag_id=run.dag_id, run_key=run.run_key)

    after = broker.cancel_run(run.run_key, by, how)
    if after == "gone":
        raise Conflict(f"Redis does not hold run {run.run_id} of {run.dag_id}, which has not ended: its start was broken off, or Redis lost its data",
                       hint=_AFTER_LOSS if status is None else _AFTER_BREAK)
    run_in_transaction(engine, note)
    return RunState(after)


def cancel_task(broker: Broker, engine: Engine, run: RunRecord, task_id: str, *, by: str, how: Ending | None = None) -> TaskState:
    """Cancel one task of a run; return its state: `cancelled`, or `running` until its processes are gone, ended as `how` says.

    Raises Conflict when it has ended, or Redis does not have the run any more.
    """
    if not broker.run_exists(run.run_key):
        raise Conflict(f"run {run.run_id} of {run.dag_id} has ended")
    before = {status.task_id: status.state for status in broker.task_statuses(run.run_key)}[task_id]
    if before in TERMINAL_STATES:
        raise Conflict(f"{task_id} of run {run.run_id} has ended: {before.value}")

    def note(connection: Connection) -> None:
        events.add(connection, "task_cancelled", who=by, dag_id=run.dag_id, run_key=run.run_key, task_id=task_id)

    after = TaskState(broker.cancel_task(run.run_key, task_id, by, how))
    run_in_transaction(engine, note)
    return after


def unreachable(broker: Broker, run: RunRecord) -> list[str]:
    """Return the ids of the tasks of a run whose workers are not heard of: a cancel reaches them when they are."""
    return [task.task_id for task in broker.task_statuses(run.run_key) if task.unreachable_since] if broker.run_exists(run.run_key) else []
