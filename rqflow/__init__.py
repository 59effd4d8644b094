"""The facade: what an author of DAG files imports. Nothing inside the package imports it.

The names are looked up when they are asked for, since every process of rqflow imports this file and few of them need DAGs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rqflow.dag.links import Label, chain, cross_downstream
    from rqflow.dag.model import DAG
    from rqflow.dag.params import Param
    from rqflow.dag.task import BaseOperator
    from rqflow.dag.taskgroup import TaskGroup
    from rqflow.dag.trigger_rule import TriggerRule
    from rqflow.exceptions import FailTask, SkipTask
    from rqflow.operators.bash import BashOperator
    from rqflow.operators.branch_python import BranchPythonOperator
    from rqflow.operators.empty import DummyOperator, EmptyOperator
    from rqflow.operators.python import PythonOperator
    from rqflow.operators.short_circuit import ShortCircuitOperator

__version__ = "0.1.0"

__all__ = [
    "DAG",
    "BaseOperator",
    "BashOperator",
    "BranchPythonOperator",
    "DummyOperator",
    "EmptyOperator",
    "FailTask",
    "Label",
    "Param",
    "PythonOperator",
    "ShortCircuitOperator",
    "SkipTask",
    "TaskGroup",
    "TriggerRule",
    "chain",
    "cross_downstream",
]

_MODULES = {
    "DAG": "dag.model",
    "BaseOperator": "dag.task",
    "BashOperator": "operators.bash",
    "BranchPythonOperator": "operators.branch_python",
    "DummyOperator": "operators.empty",
    "EmptyOperator": "operators.empty",
    "FailTask": "exceptions",
    "Label": "dag.links",
    "Param": "dag.params",
    "PythonOperator": "operators.python",
    "ShortCircuitOperator": "operators.short_circuit",
    "SkipTask": "exceptions",
    "TaskGroup": "dag.taskgroup",
    "TriggerRule": "dag.trigger_rule",
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
