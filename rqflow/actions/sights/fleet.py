"""Workers with what they run, and queues with what waits there: out of Redis, and since when it waits out of the history."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime

from rqflow import logs
from rqflow.actions import steering
from rqflow.broker import control, standing
from rqflow.broker.broker import Broker
from rqflow.broker.control import QueueStatus
from rqflow.broker.epochs import Epochs
from rqflow.broker.names import machine_of
from rqflow.broker.status import TaskStatus, WorkerStatus
from rqflow.dag.version import Version
from rqflow.exceptions import PoolNotFound, RunNotFound, StoreError
from rqflow.states import TaskState
from rqflow.store import figures
from rqflow.store.engine import Engine, reading

logger = logging.getLogger(__name__)

#: Tasks of a pool that are shown.
MOST = 200
#: States of a task that has a slot of its pool, or waits for one.
_IN_POOL = frozenset({TaskState.RUNNING, TaskState.PARKED})


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldTask:
    """A task that a worker runs, or that has or wants a slot of a pool. `state` is unreachable for one whose worker is not heard of."""

    dag_id: str
    run_id: str
    run_key: str
    task_id: str
    try_number: int
    state: str
    worker: str
    started_at: datetime | None
    #: Why it waits; empty for one that runs.
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker(WorkerStatus):
    """A worker with the tasks that it holds."""

    #: Whether it runs only what was signed by somebody whom it trusts; None: it does not say.
    verifies: bool | None = None
    #: Since when it takes no work because somebody said so.
    paused_since: datetime | None = None
    paused_by: str = ""
    tasks: tuple[HeldTask, ...] = ()
    #: Tasks that it holds of DAGs that are not to be seen.
    hidden: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue(QueueStatus):
    """A queue."""

    #: Since when the task waits that has waited longest, as far as the history has it.
    oldest_since: datetime | None = None
    #: Since when tasks wait there and no live worker serves it.
    unserved_since: datetime | None = None


def workers(broker: Broker, visible: Collection[str] | None) -> list[Worker]:
    """Return the workers that live, and those that are not heard of, by name; with their tasks of DAGs that are `visible` (None: all).

    Raises redis-py's errors.
    """
    return _described(broker, standing.all_workers(broker, broker.workers()), visible)


def worker(broker: Broker, name: str, visible: Collection[str] | None) -> Worker:
    """Return the worker that a name means. Raises NotFound, UsageError."""
    found = steering.workers(broker, [name], standing.all_workers(broker, broker.workers()))
    return _described(broker, found, visible)[0]


def _described(broker: Broker, found: Iterable[WorkerStatus], visible: Collection[str] | None) -> list[Worker]:
    machines, halts = Epochs(broker.connection).look().machines, control.paused_workers(broker)
    there, described = list(found), []
    for one, held in zip(there, control.held_by(broker, [one.name for one in there]), strict=True):
        by_run: dict[str, list[int]] = {}
        for run_key, index in held:
            by_run.setdefault(run_key, []).append(index)
        tasks = [task for run_key, indices in by_run.items() for task in _tasks(broker, run_key, indices)]
        seen = [task for task in tasks if visible is None or task.dag_id in visible]
        machine, halt = machines.get(machine_of(one.name)), halts.get(machine_of(one.name))
        known = {field.name: getattr(one, field.name) for field in fields(WorkerStatus)}
        described.append(Worker(**known, verifies=machine.verifies if machine else None, paused_since=halt.since if halt else None,
                                paused_by=halt.by if halt else "", tasks=tuple(seen), hidden=len(tasks) - len(seen)))
    return described


def queues(broker: Broker, history: Callable[[], Engine]) -> list[Queue]:
    """Return the queues by name; while the history is away, without what it alone knows of them. Raises redis-py's errors."""
    unserved = {one.queue: one.since for one in broker.unserved()}
    oldest = _oldest(history)
    return [_queue(one, oldest, unserved) for one in control.queues(broker)]


def _oldest(history: Callable[[], Engine]) -> Mapping[str, datetime]:
    try:
        with reading(history()) as connection:
            return figures.oldest_queued(connection)
    except StoreError as error:  # who pauses a queue now needs what Redis knows
        logger.warning("since when tasks wait is not known: %s", error, extra=logs.context("database_down"))
        return {}


def _queue(one: QueueStatus, oldest: Mapping[str, datetime], unserved: Mapping[str, datetime]) -> Queue:
    known = {field.name: getattr(one, field.name) for field in fields(QueueStatus)}
    return Queue(**known, oldest_since=oldest.get(one.name) if one.waiting else None, unserved_since=unserved.get(one.name))


def in_pool(broker: Broker, name: str, visible: Collection[str] | None) -> list[HeldTask]:
    """Return the tasks that have a slot of a pool, and those that wait for one after them; MOST at most, of DAGs that are `visible`.

    Raises PoolNotFound for a pool that Redis does not know.
    """
    if name not in broker.pools():
        raise PoolNotFound(f"there is no pool {name}")
    found: list[HeldTask] = []
    for run_key in broker.live_runs():
        version = _version(broker, run_key)
        indices = [index for index, task in enumerate(version.tasks) if task.pool == name] if version else []
        found += [task for task in _tasks(broker, run_key, indices, _IN_POOL) if visible is None or task.dag_id in visible]
    return sorted(found, key=lambda task: (task.state == TaskState.PARKED, task.dag_id, task.run_id, task.task_id))[:MOST]


def _version(broker: Broker, run_key: str) -> Version | None:
    run = broker.run_info(run_key)
    return broker.version(run.version) if run else None


def _tasks(broker: Broker, run_key: str, indices: Iterable[int], states: Collection[TaskState] | None = None) -> list[HeldTask]:
    """Return tasks of a run; none of one that has ended, and is gone, meanwhile."""
    wanted = list(indices)
    try:
        run = broker.run_info(run_key)
        statuses = broker.task_statuses(run_key, wanted) if run and wanted else []
    except RunNotFound:
        return []
    return [_task(run.dag_id, run.run_id, run_key, one) for one in statuses if run and (states is None or one.state in states)]


def _task(dag_id: str, run_id: str, run_key: str, one: TaskStatus) -> HeldTask:
    is_running = one.state is TaskState.RUNNING
    return HeldTask(dag_id=dag_id, run_id=run_id, run_key=run_key, task_id=one.task_id, try_number=one.try_number,
                    state="unreachable" if one.unreachable_since else one.state.value, worker=one.worker,
                    started_at=one.started_at if is_running else None, reason="" if is_running else one.reason)
