"""Callbacks: functions of an author that are called when something has happened to a task or a run; which there are, and what they are given.

A version only says which kinds a task or a DAG has (`task_kinds`, `dag_kinds`); the functions are in the DAG's source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rqflow.dag.problems import Place, report

if TYPE_CHECKING:
    from rqflow.dag.model import DAG
    from rqflow.dag.task import BaseOperator


class Kind(StrEnum):
    """What a callback is called for."""

    #: A try is about to begin: called in the task's own process.
    EXECUTE = "execute"
    #: A task has failed, and gets no further try; or was lost.
    FAILURE = "failure"
    #: A try has failed, or was lost, and there will be another one.
    RETRY = "retry"
    #: A task has skipped itself.
    SKIPPED = "skipped"
    SUCCESS = "success"
    #: A run has failed, or was a success.
    RUN_FAILURE = "run_failure"
    RUN_SUCCESS = "run_success"
    #: Tasks of a run did not end in their sla.
    SLA_MISS = "sla_miss"


#: {kind: the argument of a task, or of a DAG, that holds the function or a list of functions}.
OF_TASK = {
    Kind.EXECUTE: "on_execute_callback", Kind.FAILURE: "on_failure_callback", Kind.RETRY: "on_retry_callback",
    Kind.SKIPPED: "on_skipped_callback", Kind.SUCCESS: "on_success_callback",
}
OF_DAG = {Kind.RUN_FAILURE: "on_failure_callback", Kind.RUN_SUCCESS: "on_success_callback", Kind.SLA_MISS: "sla_miss_callback"}


def task_kinds(task: BaseOperator) -> tuple[str, ...]:
    """Return the kinds of callbacks that a task has; what is no function is reported."""
    return _kinds(OF_TASK, task.__dict__, f"task {task.task_id}", task.origin)


def dag_kinds(dag: DAG) -> tuple[str, ...]:
    """Return the kinds of callbacks that a DAG has; what is no function is reported."""
    return _kinds(OF_DAG, dag.__dict__, f"DAG {dag.dag_id}", dag.origin)


def functions(value: Any) -> list[Callable[..., Any]]:
    """Return the functions in the value of such an argument: one, several in a list, or none."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple | set) else [value]


def name_of(function: Callable[..., Any]) -> str:
    """Return what people call a function, or an object that is called like one."""
    named = getattr(function, "__qualname__", None) or getattr(getattr(function, "func", None), "__qualname__", None)
    return str(named or type(function).__name__)


def _kinds(arguments: Mapping[Kind, str], values: Mapping[str, Any], what: str, origin: Place) -> tuple[str, ...]:
    return tuple(kind.value for kind, name in arguments.items() if _checked(functions(values.get(name)), f"{what}: {name}", origin))


def _checked(found: Iterable[Any], what: str, origin: Place) -> bool:
    """Tell whether there is a function among `found`."""
    called = [one for one in found if one is not None]
    for one in called:
        if not callable(one):
            report(f"{what}={one!r} must be a function, or a list of functions", origin)
    return any(callable(one) for one in called)
