"""Small things that DAG files import: names of states, run types and weight rules, base classes without consequence."""

from __future__ import annotations

import logging
from enum import Enum, IntEnum
from typing import Any, TypeVar

F = TypeVar("F")
#: What `airflow.__version__` says to files that ask: the last release that had most of the names of the shim.
version = "2.10.5"


class _Words(str, Enum):
    """Words that print as themselves."""

    def __str__(self) -> str:
        return str(self.value)


class TaskInstanceState(_Words):
    """States of tasks, by Airflow's names."""

    REMOVED = "removed"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    RESTARTING = "restarting"
    FAILED = "failed"
    UP_FOR_RETRY = "up_for_retry"
    UP_FOR_RESCHEDULE = "up_for_reschedule"
    UPSTREAM_FAILED = "upstream_failed"
    SKIPPED = "skipped"
    DEFERRED = "deferred"


class DagRunState(_Words):
    """States of runs."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"


class State:
    """States of tasks and runs, as text."""

    NONE = None
    REMOVED, SCHEDULED, QUEUED, RUNNING, SUCCESS = "removed", "scheduled", "queued", "running", "success"
    SHUTDOWN, FAILED, UP_FOR_RETRY, UP_FOR_RESCHEDULE = "shutdown", "failed", "up_for_retry", "up_for_reschedule"
    UPSTREAM_FAILED, SKIPPED, DEFERRED = "upstream_failed", "skipped", "deferred"


class DagRunType(_Words):
    """How runs come about."""

    MANUAL = "manual"
    SCHEDULED = "scheduled"
    BACKFILL_JOB = "backfill"


class WeightRule(_Words):
    """How the weight of a task follows from its neighbours'."""

    DOWNSTREAM = "downstream"
    UPSTREAM = "upstream"
    ABSOLUTE = "absolute"


class WeekDay(IntEnum):
    """Days of the week, as ISO 8601 numbers them."""

    MONDAY = 1
    TUESDAY = 2
    WEDNESDAY = 3
    THURSDAY = 4
    FRIDAY = 5
    SATURDAY = 6
    SUNDAY = 7


class LoggingMixin:
    """Gives a class its `log`."""

    def __init__(self, *_: Any) -> None:
        """Take anything."""

    @property
    def log(self) -> logging.Logger:
        """The logger of this class."""
        return logging.getLogger(f"rqflow.task.{type(self).__name__}")


class AirflowPlugin:
    """Base of plugins, which rqflow does not load."""

    name: str | None = None


def provide_session(function: F) -> F:
    """Return the function: there is no database that a task could use."""
    return function
