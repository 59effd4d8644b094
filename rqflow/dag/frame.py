"""What the variables of one try are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from rqflow.dag.graph import subdag_of
from rqflow.dag.moments import moment
from rqflow.dag.outside import connections, variables
from rqflow.dag.run import RunInfo
from rqflow.dag.taint import taint
from rqflow.dag.version import TaskSpec, Version
from rqflow.dag.xcom_view import XComs


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Everything that the variables of one try are made from."""

    version: Version
    task: TaskSpec
    run: RunInfo
    try_number: int = 1
    xcoms: XComs = field(default_factory=XComs)
    variables: Mapping[str, Any] = field(default_factory=variables)
    connections: Mapping[str, Any] = field(default_factory=connections)
    #: Whether values from outside are marked: for rendering, not for callables.
    marked: bool = True
    #: The real objects, where the DAG's source is loaded.
    dag: Any = None
    operator: Any = None
    hostname: str = ""
    test_mode: bool = False
    started_at: datetime | None = None
    #: How often this try gave its slot back before.
    looks: int = 0

    def of(self, task: TaskSpec) -> Frame:
        """Return the same for another task of the run, of which no more is known."""
        return replace(self, task=task, operator=None, started_at=None, hostname="", try_number=0)

    def shown(self, task: TaskSpec | None = None) -> tuple[str, str]:
        """Return the ids of DAG and task as the author knows them: those within its SubDag, for a task of one."""
        task = task or self.task
        found = subdag_of(self.version, task)
        return (found[1], task.task_id.removeprefix(f"{found[0]}.")) if found else (self.version.dag_id, task.task_id)

    def place(self, task_id: str, dag_id: str | None) -> str | None:
        """Return the id in the version of what the author calls `task_id` (of the DAG or SubDag `dag_id`); None for another DAG's."""
        if dag_id is None:
            found = subdag_of(self.version, self.task)
            inside = f"{found[0]}.{task_id}" if found else task_id
            return inside if inside in self.version.by_id else task_id
        if dag_id == self.version.dag_id:
            return task_id
        group = next((name for name, about in self.version.groups.items() if about.get("subdag") == dag_id), None)
        return f"{group}.{task_id}" if group else None

    def outside(self, value: Any, origin: str) -> Any:
        """Return a value from outside, marked when that is wished."""
        return taint(value, origin) if self.marked else value

    def date(self, value: datetime | str | None) -> datetime | None:
        """Return a date as authors of this generation see dates."""
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
        return None if at is None else moment(at, self.version.generation)


def copied(value: Any) -> Any:
    """Return JSON-like `value` with containers of its own, so that a template which changes it (`{% do %}`) does not change the version."""
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list | tuple) else value


def params(frame: Frame) -> dict[str, Any]:
    """Return the params: the DAG's, the task's, what was given at the trigger, and (from Airflow 2 on) conf, the later over the earlier."""
    known = copied({**frame.version.params, **frame.task.params})
    given = {name: value for name, value in frame.run.params.items() if name not in frame.version.params or frame.version.params[name] != value}
    if frame.version.generation != "1":
        given.update(frame.run.conf)
    return {**known, **{name: frame.outside(value, f"params.{name}") for name, value in given.items()}}
