"""Emptying Redis of all that rqflow has there, and of nothing else: other jobs of RQ may live in it."""

from __future__ import annotations

from collections.abc import Iterable

from rqflow.broker import deleting, keys
from rqflow.broker.broker import Broker
from rqflow.states import TaskState

#: Keys that one question looks at.
_SCAN = 1000


def running(broker: Broker) -> list[str]:
    """Return the tasks that run, or count as running, for people."""
    found = []
    for run_key in broker.live_runs():
        status = broker.run_status(run_key)
        if status is not None and broker.run_exists(run_key):
            found += [f"{task.task_id} of run {status.run_id} of {status.dag_id} on {task.worker}" for task in broker.task_statuses(run_key)
                      if task.state is TaskState.RUNNING]
    return found


def wipe(broker: Broker, dag_ids: Iterable[str], by: str) -> None:
    """Remove all runs with their jobs, the alarms of these DAGs, and every key of rqflow. Safe to repeat, and to break off.

    Raises BrokerError when Redis does not answer.
    """
    for run_key in broker.all_runs():
        deleting.bury(broker, run_key, by)
        deleting.remove(broker, run_key)
    broker.set_ticks(dict.fromkeys(dag_ids))
    pattern, cursor = f"{_literal(keys.FLOW)}*", 0
    while True:
        cursor, found = broker.steps.command("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN)
        if found:
            broker.steps.command("UNLINK", *found)
        if int(cursor) == 0:
            return


def _literal(prefix: str) -> str:
    """Return a prefix as a pattern that means nothing else."""
    return "".join(f"\\{character}" if character in "*?[]^\\" else character for character in prefix)
