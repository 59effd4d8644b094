"""All operators by their kind, which is what a version names them by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from rqflow.exceptions import TaskFailed
from rqflow.operators.base import Ended, Launch, Outcome, TryJob
from rqflow.operators.bash import BashOperator
from rqflow.operators.branch import BaseBranchOperator
from rqflow.operators.branch_python import BranchPythonOperator
from rqflow.operators.branch_times import BranchDateTimeOperator, BranchDayOfWeekOperator
from rqflow.operators.email import EmailOperator
from rqflow.operators.empty import EmptyOperator
from rqflow.operators.http import HttpOperator
from rqflow.operators.latest_only import LatestOnlyOperator
from rqflow.operators.python import PythonOperator
from rqflow.operators.sensors.base import BaseSensorOperator
from rqflow.operators.sensors.bash import BashSensor
from rqflow.operators.sensors.external_task import ExternalTaskSensor
from rqflow.operators.sensors.file import FileSensor
from rqflow.operators.sensors.http import HttpSensor
from rqflow.operators.sensors.python import PythonSensor
from rqflow.operators.sensors.sql import SqlSensor
from rqflow.operators.sensors.times import DateTimeSensor, DayOfWeekSensor, TimeDeltaSensor, TimeSensor
from rqflow.operators.short_circuit import ShortCircuitOperator
from rqflow.operators.sql import SQLExecuteQueryOperator
from rqflow.operators.trigger_dag import TriggerDagRunOperator
from rqflow.operators.virtualenv import (
    BranchExternalPythonOperator,
    BranchPythonVirtualenvOperator,
    ExternalPythonOperator,
    PythonVirtualenvOperator,
)


class Operator(Protocol):
    """What a worker uses of an operator class."""

    kind: ClassVar[str]

    @classmethod
    def launch(cls, fields: Mapping[str, Any], job: TryJob) -> Launch:
        """Return how to start a try whose rendered fields these are; raises TaskFailed when that cannot be."""

    @classmethod
    def outcome(cls, fields: Mapping[str, Any], ended: Ended, job: TryJob) -> Outcome:
        """Return what the end of a try means."""


OPERATORS: dict[str, type[Operator]] = {
    "bash": BashOperator,
    "python": PythonOperator,
    "branch_python": BranchPythonOperator,
    "external_python": ExternalPythonOperator,
    "branch_external_python": BranchExternalPythonOperator,
    "virtualenv": PythonVirtualenvOperator,
    "branch_virtualenv": BranchPythonVirtualenvOperator,
    "short_circuit": ShortCircuitOperator,
    "empty": EmptyOperator,
    "sensor": BaseSensorOperator,
    "bash_sensor": BashSensor,
    "date_time_sensor": DateTimeSensor,
    "day_of_week_sensor": DayOfWeekSensor,
    "file_sensor": FileSensor,
    "python_sensor": PythonSensor,
    "time_delta_sensor": TimeDeltaSensor,
    "time_sensor": TimeSensor,
    "email": EmailOperator,
    "sql": SQLExecuteQueryOperator,
    "branch": BaseBranchOperator,
    "branch_date_time": BranchDateTimeOperator,
    "branch_day_of_week": BranchDayOfWeekOperator,
    "latest_only": LatestOnlyOperator,
    "trigger_dag": TriggerDagRunOperator,
    "external_task_sensor": ExternalTaskSensor,
    "http": HttpOperator,
    "http_sensor": HttpSensor,
    "sql_sensor": SqlSensor,
}


def by_kind(kind: str) -> type[Operator]:
    """Return the operator class of a kind; raises TaskFailed for one that this rqflow does not have."""
    if kind not in OPERATORS:
        raise TaskFailed(f"this rqflow has no operator {kind!r}: it is older than the one that submitted the DAG")
    return OPERATORS[kind]
