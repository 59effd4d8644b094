"""Starting a task at once that waits for its time (a retry's delay, the next look of a sensor), or is parked."""

from __future__ import annotations

from rqflow.actions.rewrite import latest
from rqflow.broker.broker import Broker
from rqflow.exceptions import Conflict
from rqflow.states import TaskState
from rqflow.store import events
from rqflow.store.engine import Connection, Engine, run_in_transaction
from rqflow.store.runs import RunRecord


def run_now(broker: Broker, engine: Engine, run: RunRecord, index: int, task_id: str, *, by: str, same_version: bool = False) -> None:
    """Queue a task of a run at once, whatever it is parked for; raises Conflict for one that waits for something else, or for labels.

    A retry, and what is parked, follows the latest version of its DAG from now on, unless `same_version`: what a person mends is to be tried.
    """
    state = broker.run_now(run.run_key, index, version=None if same_version else latest(engine, run.dag_id))
    if state not in {TaskState.UP_FOR_RETRY, TaskState.UP_FOR_RESCHEDULE, TaskState.PARKED}:
        hint = f"`rqflow why {run.run_id} {task_id}` says what it waits for."
        how = state.value if state else "unknown to Redis"
        raise Conflict(f"{task_id} of run {run.run_id} is {how}: it neither waits for its time nor is it parked", hint=hint)
    status, = broker.task_statuses(run.run_key, [index])
    if status.state is TaskState.PARKED:
        raise Conflict(f"{task_id} of run {run.run_id} {status.reason}", hint="`rqflow worker --label NAME` starts one.")

    def note(connection: Connection) -> None:
        events.add(connection, "task_run_now", who=by, dag_id=run.dag_id, run_key=run.run_key, task_id=task_id)

    run_in_transaction(engine, note)
