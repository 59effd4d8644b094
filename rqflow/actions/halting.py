"""Steering of queues and workers, done and written down: by way of Redis, for workers, and commands beside them, may reach nothing else."""

from __future__ import annotations

from rqflow.actions import steering
from rqflow.actions.steering import Held
from rqflow.broker import control, deeds
from rqflow.broker.broker import Broker
from rqflow.broker.status import WorkerStatus


def pause_queue(broker: Broker, name: str, *, by: str) -> None:
    """Let a queue give no work; what runs goes on. Raises NotFound."""
    steering.queue(broker, name)
    control.pause_queue(broker, name, by)
    deeds.note(broker, "queue_paused", by=by, queue=name)


def resume_queue(broker: Broker, name: str, *, by: str) -> bool:
    """Let a queue give work again; False when it did. Raises NotFound."""
    steering.queue(broker, name)
    was_paused = control.resume_queue(broker, name)
    if was_paused:
        deeds.note(broker, "queue_resumed", by=by, queue=name)
    return was_paused


def empty_queue(broker: Broker, name: str, *, by: str) -> list[Held]:
    """Cancel the tasks that wait for a worker on a queue; return them. Raises NotFound."""
    steering.queue(broker, name)
    cancelled = steering.empty(broker, name, by)
    deeds.note(broker, "queue_emptied", by=by, queue=name, tasks=len(cancelled))
    return cancelled


def pause_worker(broker: Broker, worker: WorkerStatus, *, by: str) -> None:
    """Let a worker take no work, over its restarts too; what runs there goes on."""
    control.pause_worker(broker, worker.name, by)
    deeds.note(broker, "worker_paused", by=by, worker=worker.name)


def resume_worker(broker: Broker, worker: WorkerStatus, *, by: str) -> bool:
    """Let a worker take work again; False when it did."""
    was_paused = control.resume_worker(broker, worker.name)
    if was_paused:
        deeds.note(broker, "worker_resumed", by=by, worker=worker.name)
    return was_paused


def stop_worker(broker: Broker, worker: WorkerStatus, how: str | None, *, by: str) -> None:
    """Tell a worker to end, as `steering.stop` does. Raises Conflict for one that does not listen."""
    steering.stop(broker, worker, how)
    deeds.note(broker, "worker_stopped", by=by, worker=worker.name, how=how or "as its --on-stop says")
