"""Steering queues and workers: who is meant, what waits, and what is done about it. Imports nothing of the history, which workers do without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from rqflow import clock
from rqflow.broker import control
from rqflow.broker.broker import Broker
from rqflow.broker.status import WorkerStatus
from rqflow.exceptions import Conflict, NotFound, TimedOut, UsageError

#: Seconds between two looks whether a worker is gone.
EVERY = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A task that a worker holds."""

    dag_id: str
    run_id: str
    task_id: str


def workers(broker: Broker, names: Sequence[str], known: Sequence[WorkerStatus] | None = None) -> list[WorkerStatus]:
    """Return the live workers, or those of `known`, that these names mean: whole names, unique beginnings of one, or hosts with one worker.

    Raises NotFound, and UsageError for a name that means several.
    """
    live = broker.workers() if known is None else known
    return list({one.name: one for one in (_one(live, name) for name in names)}.values())


def _one(live: Sequence[WorkerStatus], name: str) -> WorkerStatus:
    exact = [one for one in live if one.name == name]
    found = exact or [one for one in live if one.host == name] or [one for one in live if name and one.name.startswith(name)]
    if not found:
        raise NotFound(f"there is no live worker {name}", hint="`rqflow worker list` shows those that live.")
    if len(found) > 1:
        raise UsageError(f"{name} is not one worker: {', '.join(one.name for one in found[:3])}{' …' if len(found) > 3 else ''}")
    return found[0]


def about(broker: Broker, worker: WorkerStatus) -> dict[str, Any]:
    """Return a worker with the tasks that it holds."""
    halt = control.is_paused(broker, worker.name)
    held = []
    for run_key, index in control.held_by(broker, [worker.name])[0]:
        run = broker.run_info(run_key)
        version = broker.version(run.version) if run else None
        if run and version:
            held.append(asdict(Held(dag_id=run.dag_id, run_id=run.run_id, task_id=version.tasks[index].task_id)))
    return {**asdict(worker), "paused_since": halt.since if halt else None, "paused_by": halt.by if halt else "", "tasks": held}


def stop(broker: Broker, worker: WorkerStatus, how: str | None) -> None:
    """Tell a worker to end: `keep` leaves its tasks to its shepherd, `drain` lets them end first, `kill` ends them, and they run elsewhere; None: as
    its --on-stop says. Raises Conflict for one that does not listen.
    """
    if not control.tell(broker, worker.name, command="shutdown", **({"how": how} if how else {})):
        raise Conflict(f"worker {worker.name} does not listen to commands now", hint=f"On {worker.host}: `kill {worker.pid}`")


def wait_gone(broker: Broker, names: Sequence[str], timeout: timedelta | None) -> None:
    """Wait until none of these workers lives; raises TimedOut."""
    since = clock.monotonic()
    while left := sorted({one.name for one in broker.workers()} & set(names)):
        if timeout is not None and clock.monotonic() - since >= timeout.total_seconds():
            raise TimedOut(f"{', '.join(left)} still lives after {timeout.total_seconds():g} s; it goes on ending")
        clock.sleep(EVERY)


def queue(broker: Broker, name: str) -> control.QueueStatus:
    """Return a queue; raises NotFound."""
    for one in control.queues(broker):
        if one.name == name:
            return one
    raise NotFound(f"there is no queue {name}", hint="`rqflow queue list` shows those that tasks or workers name.")


def empty(broker: Broker, name: str, by: str) -> list[Held]:
    """Cancel the tasks that wait for a worker on a queue; return them."""
    cancelled = []
    for run_key, index in control.waiting(broker, name):
        run = broker.run_info(run_key)
        version = broker.version(run.version) if run else None
        if run and version:
            task_id = version.tasks[index].task_id
            broker.cancel_task(run_key, task_id, by)
            cancelled.append(Held(dag_id=run.dag_id, run_id=run.run_id, task_id=task_id))
    return cancelled
