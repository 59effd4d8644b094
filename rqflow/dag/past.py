"""Which tasks wait for tasks of the run before theirs: depends_on_past and wait_for_downstream. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rqflow.dag.version import Version
from rqflow.states import TaskState


@dataclass(frozen=True, kw_only=True, slots=True)
class RunBefore:
    """The run before one, as far as tasks of that one depend on it."""

    run_key: str
    run_id: str
    #: {index of a task: indices of the tasks there that must have succeeded or been skipped}.
    waits: Mapping[int, tuple[int, ...]]
    #: {index there: (state, task id)} of those that the history does not know to have ended well.
    states: Mapping[int, tuple[TaskState, str]] = field(default_factory=dict)


def waits(version: Version, before: Version) -> dict[int, tuple[int, ...]]:
    """Return {index: indices in the version `before`} of the tasks that depend on their past; one that is new there depends on nothing.

    wait_for_downstream means the tasks directly below it as well, and includes depends_on_past, as Airflow documents it.
    """
    found: dict[int, tuple[int, ...]] = {}
    for task in version.tasks:
        same = before.by_id.get(task.task_id)
        if same and (task.depends_on_past or task.wait_for_downstream):
            found[task.index] = (same.index, *(same.downstream if task.wait_for_downstream else ()))
    return found
