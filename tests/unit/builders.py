"""Tasks, versions and runs with defaults, so that a test states only what it is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from graphlib import TopologicalSorter
from typing import Any

from rqflow.dag.run import MANUAL, RunInfo
from rqflow.dag.version import TaskSpec, Version

#: The logical date of `a_run` when none is given.
A_DATE = datetime(2024, 1, 1, tzinfo=UTC)


def a_task(task_id: str = "a", command: str = "true", **changes: Any) -> TaskSpec:
    """A bash task that runs `command`; `changes` are fields of TaskSpec, `fields` laid over the command."""
    fields = {"bash_command": command, **changes.pop("fields", {})}
    defaults: dict[str, Any] = {
        "index": 0, "operator": "bash", "operator_name": "BashOperator", "template_fields": ("bash_command", "env", "cwd"),
    }
    return TaskSpec(**{**defaults, **changes, "task_id": task_id, "fields": fields})


def an_empty_task(task_id: str = "a", **changes: Any) -> TaskSpec:
    """A task that no worker sees."""
    defaults: dict[str, Any] = {"index": 0, "operator": "empty", "operator_name": "EmptyOperator", "fields": {}}
    return TaskSpec(**{**defaults, **changes, "task_id": task_id})


def a_version(
    tasks: Mapping[str, Iterable[str]] | Iterable[str] | None = None,
    *,
    specs: Mapping[str, TaskSpec] | Iterable[TaskSpec] = (),
    commands: Mapping[str, str] | None = None,
    each: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Version:
    """A version of bash tasks: `tasks` is {task id: its upstream ids}, {"a": []} when it is None.

    `specs` are tasks made by `a_task` to be used under their task_id in place of the default one, `commands` {task id: bash command},
    `each` fields of TaskSpec laid over every task; `changes` are fields of Version. Indices, order and edges come from `tasks`.
    """
    made = {spec.task_id: spec for spec in (specs.values() if isinstance(specs, Mapping) else specs)}
    edges = _edges(tasks if tasks is not None else list(made) or ["a"])
    for task_id in made:
        edges.setdefault(task_id, [])
    order = [name for name in TopologicalSorter(edges).static_order() if name in edges]
    at = {name: index for index, name in enumerate(order)}
    downstream: dict[str, list[int]] = {name: [] for name in order}
    for name, upstream in edges.items():
        for up in upstream:
            downstream[up].append(at[name])
    built = [
        replace(
            made.get(name) or a_task(name, (commands or {}).get(name, "true")),
            **{
                **(each or {}),
                "index": at[name],
                "upstream": tuple(sorted(at[up] for up in edges[name])),
                "downstream": tuple(sorted(downstream[name])),
            },
        )
        for name in order
    ]
    defaults: dict[str, Any] = {"dag_id": "d", "file": "d.py", "generation": "native"}
    return Version(**{**defaults, **changes, "tasks": tuple(built)})


def a_run(version: Version | None = None, **changes: Any) -> RunInfo:
    """A manual run of `version` (of `a_version()` when it is None) for A_DATE; `changes` are fields of RunInfo."""
    version = version or a_version()
    date = changes.get("logical_date", A_DATE)
    defaults: dict[str, Any] = {
        "dag_id": version.dag_id, "run_id": "r1", "run_type": MANUAL, "version": version.sha, "logical_date": date,
        "data_interval_start": date, "data_interval_end": date, "params": dict(version.params), "created_at": date + timedelta(days=1),
    }
    return RunInfo(**{**defaults, **changes})


def _edges(tasks: Mapping[str, Iterable[str]] | Iterable[str]) -> dict[str, list[str]]:
    if isinstance(tasks, Mapping):
        return {name: list(upstream) for name, upstream in tasks.items()}
    return {name: [] for name in tasks}
