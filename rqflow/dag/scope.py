"""Which DAG and group the author's code is inside of: `with DAG(…):`, `with TaskGroup(…):`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rqflow.dag.model import DAG
    from rqflow.dag.taskgroup import TaskGroup

#: Groups whose `with` block is open, innermost last; an open DAG stands there as its root group.
_open: list[TaskGroup] = []


def enter(group: TaskGroup) -> None:
    """Begin the block of `group`."""
    _open.append(group)


def leave(group: TaskGroup) -> None:
    """End the block of `group`, and of whatever in it was left open."""
    while _open and _open.pop() is not group:
        pass


@contextmanager
def fresh() -> Iterator[None]:
    """Run the block with nothing open, and forget what it leaves open."""
    before = _open[:]
    _open.clear()
    try:
        yield
    finally:
        _open[:] = before


def current_dag() -> DAG | None:
    """Return the DAG whose block is open, if any."""
    return _open[-1].dag if _open else None


def current_group(dag: DAG | None) -> TaskGroup | None:
    """Return the group that takes a new task or group of `dag`: the open one, else the DAG's root."""
    if _open and _open[-1].dag is dag:
        return _open[-1]
    return dag.task_group if dag is not None else None


def defaults(given: dict[str, Any]) -> dict[str, Any]:
    """Return the default_args for an object made here with the arguments `given`: the DAG's, then the groups', then its own."""
    own = given.get("default_args") or {}
    group = given.get("task_group")
    dag = given.get("dag") or own.get("dag") or (group.dag if group is not None else current_dag())
    if dag is None:
        return dict(own)
    group = group or current_group(dag)
    return {**dag.default_args, **(group.all_default_args() if group is not None else {}), **own}
