"""Redis as the leading scheduler leaves it, for tests without one."""

from __future__ import annotations

import redis

from rqflow.broker.epochs import Epochs, MachineSeen


def open_epoch(connection: redis.Redis, number: int = 1) -> None:
    """Begin an epoch and open it, with nobody to wait for."""
    epochs = Epochs(connection)
    epochs.begin(number, epochs.look().server)
    epochs.open(())


def admit(connection: redis.Redis, machine: str) -> None:
    """Let the worker of a work_dir (host.work_dir) claim."""
    Epochs(connection).admit([MachineSeen(machine, "", ())])
