"""Steering of queues and workers by somebody who is known at the hub: done in Redis, and written down in the history."""

from __future__ import annotations

from typing import Any

from rqflow.actions import steering
from rqflow.actions.steering import Held
from rqflow.broker import control
from rqflow.broker.broker import Broker
from rqflow.broker.status import WorkerStatus
from rqflow.store import events
from rqflow.store.engine import Engine, run_in_transaction


def pause_queue(broker: Broker, engine: Engine, name: str, *, by: str) -> None:
    """Let a queue give no work; what runs goes on. Raises NotFound."""
    steering.queue(broker, name)
    control.pause_queue(broker, name, by)
    _note(engine, "queue_paused", by, queue=name)


def resume_queue(broker: Broker, engine: Engine, name: str, *, by: str) -> bool:
    """Let a queue give work again; False when it did. Raises NotFound."""
    steering.queue(broker, name)
    was_paused = control.resume_queue(broker, name)
    if was_paused:
        _note(engine, "queue_resumed", by, queue=name)
    return was_paused


def empty_queue(broker: Broker, engine: Engine, name: str, *, by: str) -> list[Held]:
    """Cancel the tasks that wait for a worker on a queue; return them. Raises NotFound."""
    steering.queue(broker, name)
    cancelled = steering.empty(broker, name, by)
    _note(engine, "queue_emptied", by, queue=name, tasks=len(cancelled))
    return cancelled


def pause_worker(broker: Broker, engine: Engine, worker: WorkerStatus, *, by: str) -> None:
    """Let a worker take no work, over its restarts too; what runs there goes on."""
    control.pause_worker(broker, worker.name, by)
    _note(engine, "worker_paused", by, worker=worker.name)


def resume_worker(broker: Broker, engine: Engine, worker: WorkerStatus, *, by: str) -> bool:
    """Let a worker take work again; False when it did."""
    was_paused = control.resume_worker(broker, worker.name)
    if was_paused:
        _note(engine, "worker_resumed", by, worker=worker.name)
    return was_paused


def stop_worker(broker: Broker, engine: Engine, worker: WorkerStatus, how: str | None, *, by: str) -> None:
    """Tell a worker to end, as `steering.stop` does. Raises Conflict for one that does not listen."""
    steering.stop(broker, worker, how)
    _note(engine, "worker_stopped", by, worker=worker.name, how=how or "as its --on-stop says")


def _note(engine: Engine, event: str, by: str, **given: Any) -> None:
    run_in_transaction(engine, lambda connection: events.add(connection, event, who=by, **given))
