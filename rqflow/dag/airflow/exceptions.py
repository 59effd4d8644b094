"""The exceptions that tasks raise, under Airflow's names. All may be raised without a message."""

from __future__ import annotations

from typing import Any


class AirflowException(Exception):
    """Base of all of them."""

    status_code = 500


class AirflowBadRequest(AirflowException):
    """A request that makes no sense."""


class AirflowNotFoundException(AirflowException):
    """A Connection, DAG or run that does not exist."""


class AirflowConfigException(AirflowException):
    """A setting that does not exist, or makes no sense."""


class AirflowSkipException(AirflowException):
    """The task is to be skipped."""


class AirflowFailException(AirflowException):
    """The task failed, and further tries would be in vain."""


class AirflowTaskTimeout(BaseException):
    """The task took too long."""


class AirflowSensorTimeout(AirflowException):
    """A sensor waited too long."""


class AirflowRescheduleException(AirflowException):
    """The task is to be tried again at a time that it says."""

    def __init__(self, reschedule_date: Any) -> None:
        """Keep when to try again, an aware datetime."""
        super().__init__(f"again at {reschedule_date}")
        self.reschedule_date = reschedule_date


class DagNotFound(AirflowNotFoundException):
    """No such DAG."""


class TaskNotFound(AirflowNotFoundException):
    """No such task."""
