"""Declaring a try lost that cannot be reached, because a person knows that its machine is gone."""

from __future__ import annotations

from rqflow.broker.broker import Broker
from rqflow.broker.status import TaskStatus
from rqflow.broker.watch import Held, Watch
from rqflow.exceptions import Conflict, TaskNotFound
from rqflow.states import TaskState
from rqflow.store import events
from rqflow.store.engine import Connection, Engine, run_in_transaction
from rqflow.store.runs import RunRecord


def mark_lost(broker: Broker, engine: Engine, run: RunRecord, task_id: str, *, by: str) -> str:
    """Declare the running try of a task lost; return the state of the task afterwards, which follows from its on_lost and its retries.

    Raises TaskNotFound; Conflict when it does not run, or when its worker is heard of.
    """
    status = next((one for one in _statuses(broker, run) if one.task_id == task_id), None)
    if status is None:
        raise TaskNotFound(f"run {run.run_id} of {run.dag_id} has no task {task_id}")
    if status.state is not TaskState.RUNNING:
        raise Conflict(f"{task_id} is {status.state.value}, not running: nothing of it can be lost")
    if status.unreachable_since is None:
        hint = "`rqflow run cancel` stops it. Only what cannot be reached can be declared lost."
        raise Conflict(f"{task_id} runs on {status.worker}, which is heard of", hint=hint)

    def note(connection: Connection) -> None:
        events.add(connection, "task_marked_lost", who=by, dag_id=run.dag_id, run_key=run.run_key, task_id=task_id)

    held = Held(run.run_key, status.index, status.execution_id)
    state = Watch(broker).lose(held, reason=f"declared lost by {by}")
    if state == TaskState.RUNNING.value:
        raise Conflict(f"{task_id} runs on {status.worker}, which is heard of again")
    run_in_transaction(engine, note)
    return state


def _statuses(broker: Broker, run: RunRecord) -> list[TaskStatus]:
    if broker.run_exists(run.run_key):
        return broker.task_statuses(run.run_key)
    raise Conflict(f"run {run.run_id} of {run.dag_id} has ended, or Redis does not have it: nothing of it can be lost")
