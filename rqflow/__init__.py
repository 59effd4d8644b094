"""The facade: what an author of DAG files imports. Nothing inside the package imports it.

The names are looked up when they are asked for, since every process of rqflow imports this file and few of them need DAGs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rqflow.dag.airflow.hook import BaseHook
    from rqflow.dag.airflow.variable import Variable
    from rqflow.dag.links import Label, chain, cross_downstream
    from rqflow.dag.model import DAG
    from rqflow.dag.outside import Connection
    from rqflow.dag.params import Param
    from rqflow.dag.task import BaseOperator
    from rqflow.dag.taskgroup import TaskGroup
    from rqflow.dag.trigger_rule import TriggerRule
    from rqflow.exceptions import FailTask, SkipTask
    from rqflow.operators.bash import BashOperator
    from rqflow.operators.branch import BaseBranchOperator
    from rqflow.operators.branch_python import BranchPythonOperator
    from rqflow.operators.branch_times import BranchDateTimeOperator, BranchDayOfWeekOperator
    from rqflow.operators.email import EmailOperator
    from rqflow.operators.empty import DummyOperator, EmptyOperator, ExternalTaskMarker
    from rqflow.operators.hooks import MySqlHook, PostgresHook, SqliteHook
    from rqflow.operators.http import HttpOperator
    from rqflow.operators.http_hook import HttpHook
    from rqflow.operators.latest_only import LatestOnlyOperator
    from rqflow.operators.python import PythonOperator
    from rqflow.operators.sensors.base import BaseSensorOperator, PokeReturnValue
    from rqflow.operators.sensors.bash import BashSensor
    from rqflow.operators.sensors.external_task import ExternalTaskSensor
    from rqflow.operators.sensors.file import FileSensor
    from rqflow.operators.sensors.http import HttpSensor
    from rqflow.operators.sensors.python import PythonSensor
    from rqflow.operators.sensors.sql import SqlSensor
    from rqflow.operators.sensors.times import DateTimeSensor, DayOfWeekSensor, TimeDeltaSensor, TimeSensor
    from rqflow.operators.short_circuit import ShortCircuitOperator
    from rqflow.operators.sql import MySqlOperator, PostgresOperator, SQLExecuteQueryOperator, SqliteOperator
    from rqflow.operators.subdag import SubDagOperator
    from rqflow.operators.trigger_dag import TriggerDagRunOperator
    from rqflow.operators.virtualenv import (
        BranchExternalPythonOperator,
        BranchPythonVirtualenvOperator,
        ExternalPythonOperator,
        PythonVirtualenvOperator,
    )

__version__ = "0.1.0"

__all__ = [
    "DAG",
    "BaseBranchOperator",
    "BaseHook",
    "BaseOperator",
    "BaseSensorOperator",
    "BashOperator",
    "BashSensor",
    "BranchDateTimeOperator",
    "BranchDayOfWeekOperator",
    "BranchExternalPythonOperator",
    "BranchPythonOperator",
    "BranchPythonVirtualenvOperator",
    "Connection",
    "DateTimeSensor",
    "DayOfWeekSensor",
    "DummyOperator",
    "EmailOperator",
    "EmptyOperator",
    "ExternalPythonOperator",
    "ExternalTaskMarker",
    "ExternalTaskSensor",
    "FailTask",
    "FileSensor",
    "HttpHook",
    "HttpOperator",
    "HttpSensor",
    "Label",
    "LatestOnlyOperator",
    "MySqlHook",
    "MySqlOperator",
    "Param",
    "PokeReturnValue",
    "PostgresHook",
    "PostgresOperator",
    "PythonOperator",
    "PythonSensor",
    "PythonVirtualenvOperator",
    "SQLExecuteQueryOperator",
    "ShortCircuitOperator",
    "SkipTask",
    "SqlSensor",
    "SqliteHook",
    "SqliteOperator",
    "SubDagOperator",
    "TaskGroup",
    "TimeDeltaSensor",
    "TimeSensor",
    "TriggerDagRunOperator",
    "TriggerRule",
    "Variable",
    "chain",
    "cross_downstream",
]

_MODULES = {
    "DAG": "dag.model",
    "BaseBranchOperator": "operators.branch",
    "BaseHook": "dag.airflow.hook",
    "BaseOperator": "dag.task",
    "BaseSensorOperator": "operators.sensors.base",
    "BashOperator": "operators.bash",
    "BashSensor": "operators.sensors.bash",
    "BranchDateTimeOperator": "operators.branch_times",
    "BranchDayOfWeekOperator": "operators.branch_times",
    "BranchExternalPythonOperator": "operators.virtualenv",
    "BranchPythonOperator": "operators.branch_python",
    "BranchPythonVirtualenvOperator": "operators.virtualenv",
    "Connection": "dag.outside",
    "DateTimeSensor": "operators.sensors.times",
    "DayOfWeekSensor": "operators.sensors.times",
    "DummyOperator": "operators.empty",
    "EmailOperator": "operators.email",
    "EmptyOperator": "operators.empty",
    "ExternalPythonOperator": "operators.virtualenv",
    "ExternalTaskMarker": "operators.empty",
    "ExternalTaskSensor": "operators.sensors.external_task",
    "FailTask": "exceptions",
    "FileSensor": "operators.sensors.file",
    "HttpHook": "operators.http_hook",
    "HttpOperator": "operators.http",
    "HttpSensor": "operators.sensors.http",
    "Label": "dag.links",
    "LatestOnlyOperator": "operators.latest_only",
    "MySqlHook": "operators.hooks",
    "MySqlOperator": "operators.sql",
    "Param": "dag.params",
    "PokeReturnValue": "operators.sensors.base",
    "PostgresHook": "operators.hooks",
    "PostgresOperator": "operators.sql",
    "PythonOperator": "operators.python",
    "PythonSensor": "operators.sensors.python",
    "PythonVirtualenvOperator": "operators.virtualenv",
    "SQLExecuteQueryOperator": "operators.sql",
    "ShortCircuitOperator": "operators.short_circuit",
    "SkipTask": "exceptions",
    "SqlSensor": "operators.sensors.sql",
    "SqliteHook": "operators.hooks",
    "SqliteOperator": "operators.sql",
    "SubDagOperator": "operators.subdag",
    "TaskGroup": "dag.taskgroup",
    "TimeDeltaSensor": "operators.sensors.times",
    "TimeSensor": "operators.sensors.times",
    "TriggerDagRunOperator": "operators.trigger_dag",
    "TriggerRule": "dag.trigger_rule",
    "Variable": "dag.airflow.variable",
    "chain": "dag.links",
    "cross_downstream": "dag.links",
}


def __getattr__(name: str) -> Any:
    """Return a name of the facade."""
    if name not in _MODULES:
        raise AttributeError(f"module 'rqflow' has no attribute {name!r}")
    if name == "DAG":
        import_module("rqflow.dag.script").validate_at_exit()
    return getattr(import_module(f"rqflow.{_MODULES[name]}"), name)
