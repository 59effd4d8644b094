"""Where: the worker, its shepherd, and the tasks they run."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Give RQ's command `-w rqflow.worker.Worker` the class, without making the shepherd import all of it."""
    if name == "Worker":
        from rqflow.worker.worker import Worker  # the shepherd imports this package too, and is to stay small

        return Worker
    raise AttributeError(name)
