"""Waiting no more for a worker that is gone for good, after Redis lost its data."""

from __future__ import annotations

from rqflow.broker import standing
from rqflow.broker.broker import Broker
from rqflow.broker.epochs import Epochs
from rqflow.broker.names import machine_of
from rqflow.exceptions import Conflict, NotFound
from rqflow.store import events, workers
from rqflow.store.engine import Connection, Engine, run_in_transaction


def forget(broker: Broker, engine: Engine, name: str, *, by: str) -> str:
    """Forget a worker by its name, with or without the part that changes at each start; return the part that stays.

    What it still runs counts as running, and can be declared lost. Raises Conflict while it lives, NotFound when nobody knows it.
    """
    live = {worker.name for worker in broker.workers()}
    epochs = Epochs(broker.connection)
    # RQ's name, or that without what changes at each start.
    names = [name, machine_of(name)]
    if any(name in {worker, machine_of(worker)} for worker in live):
        raise Conflict(f"the worker {name} lives", hint="Stop it first; one that ends with nothing to do is forgotten by itself.")

    def remove(connection: Connection) -> str:
        known = next((each for each in names if workers.remove(connection, each)), "")
        if known:
            events.add(connection, "worker_forgotten", who=by, worker=known)
        return known

    known = run_in_transaction(engine, remove) or next((each for each in names if each in epochs.look().machines), "")
    if not known:
        raise NotFound(f"there is no worker {name}", hint="`rqflow worker list` shows those that live; the scheduler's log names whom it waits for.")
    epochs.forget(known)
    standing.forget(broker, known)
    return known
