"""What has failed of a queue, to be run again."""

from __future__ import annotations

from rqflow.actions.scope import Chosen
from rqflow.broker.broker import Broker
from rqflow.states import TaskState
from rqflow.store import runs
from rqflow.store.engine import Engine, reading

#: States that count as failed.
_FAILED = frozenset({TaskState.FAILED, TaskState.LOST})


def failed(broker: Broker, engine: Engine, name: str) -> list[Chosen]:
    """Return the tasks of a queue that have failed, of the runs that Redis has."""
    found = []
    for run_key in broker.all_runs():
        run = broker.run_info(run_key)
        version = broker.version(run.version) if run else None
        if not version or not broker.run_exists(run_key):
            continue
        states = {status.task_id: status.state for status in broker.task_statuses(run_key)}
        tasks = tuple(task for task in version.tasks if task.queue == name and states.get(task.task_id) in _FAILED)
        with reading(engine) as connection:
            record = runs.by_key(connection, run_key) if tasks else None
        if record:
            found.append(Chosen(run=record, tasks=tasks, states=states))
    return found
