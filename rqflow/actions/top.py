"""What goes on now: workers, queues, and the tasks that run, out of Redis alone. Imports nothing of the history."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from rqflow.actions.model import seconds_between
from rqflow.broker import control
from rqflow.broker.broker import Broker
from rqflow.broker.control import QueueStatus
from rqflow.broker.status import TaskStatus, WorkerStatus
from rqflow.exceptions import RunNotFound
from rqflow.states import TaskState


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningTask:
    """A task that runs, or counts as running. `duration` is in seconds, by Redis' clock."""

    dag_id: str
    run_id: str
    task_id: str
    try_number: int
    #: running, unreachable or cancel requested.
    state: str
    queue: str
    worker: str
    started_at: datetime | None
    duration: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Top:
    """How all stands at one moment."""

    at: datetime
    #: Runs that have not ended, and tasks that run; of these `tasks` has the ones that have run longest.
    runs: int
    running: int
    workers: tuple[WorkerStatus, ...]
    queues: tuple[QueueStatus, ...]
    tasks: tuple[RunningTask, ...]


def look(broker: Broker, workers: Callable[[], Sequence[WorkerStatus]], limit: int, visible: Collection[str] | None = None) -> Top:
    """Return how all stands, with up to `limit` of the running tasks; `workers` gives those that live.

    Runs and tasks are those of DAGs that are `visible` (None: of all); workers and queues are everybody's.
    """
    now = broker.now()
    held = control.running(broker)
    found = (task for run_key, indices in held.items() for task in _tasks(broker, run_key, indices, now))
    tasks = sorted((task for task in found if visible is None or task.dag_id in visible), key=lambda task: task.started_at or now)
    runs = broker.live_runs()
    if visible is not None:
        runs = [key for key in runs if (info := broker.run_info(key)) is not None and info.dag_id in visible]
    live = tuple(workers())
    return Top(at=now, runs=len(runs), running=len(tasks), workers=live, queues=tuple(control.queues(broker, live)),
               tasks=tuple(tasks[:limit]))


def _tasks(broker: Broker, run_key: str, indices: Sequence[int], now: datetime) -> list[RunningTask]:
    """Return the running tasks of a run; none of one that has ended, and is gone, meanwhile."""
    try:
        info = broker.run_info(run_key)
        statuses = broker.task_statuses(run_key, indices) if info else []
    except RunNotFound:
        return []
    return [_task(info.dag_id, info.run_id, one, now) for one in statuses if info and one.state is TaskState.RUNNING]


def _task(dag_id: str, run_id: str, one: TaskStatus, now: datetime) -> RunningTask:
    state = "unreachable" if one.unreachable_since else "cancel requested" if one.cancel_requested else "running"
    return RunningTask(dag_id=dag_id, run_id=run_id, task_id=one.task_id, try_number=one.try_number, state=state, queue=one.queue, worker=one.worker,
                       started_at=one.started_at, duration=seconds_between(one.started_at, now))
