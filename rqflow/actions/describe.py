"""DAGs and tasks described for people and programs: as written, and as rendered for a date. No service is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rqflow.dag import context, loader, timetable
from rqflow.dag.run import MANUAL, SCHEDULED, RunInfo
from rqflow.dag.template import Renderer
from rqflow.dag.version import TaskSpec, Version
from rqflow.exceptions import DagLoadError, TemplateError
from rqflow.settings import Settings


def run_at(version: Version, moment: datetime, *, params: Mapping[str, Any] | None = None) -> RunInfo:
    """Return the run that would stand for `moment` as its logical date; it is not started."""
    table = timetable.of(version)
    is_scheduled = table.after(moment) is not None
    start, end = table.scheduled_interval(moment) if is_scheduled else (moment, moment)
    kind = SCHEDULED if is_scheduled else MANUAL
    return RunInfo(dag_id=version.dag_id, run_id=f"{kind}__{moment.isoformat()}", run_type=kind, version=version.sha, logical_date=moment,
                   data_interval_start=start, data_interval_end=end, params={**version.params, **(params or {})})


def rendered(version: Version, task: TaskSpec, run: RunInfo, *, unsafe: bool = False, settings: Settings | None = None) -> dict[str, Any]:
    """Return {template field: rendered value} of a task; raises TemplateError naming field and line.

    With `settings` the macros and filters of the DAG's own are at hand, too.
    """
    result = _all_rendered(version, [task], run, Renderer(version, unsafe=unsafe), settings)[task.task_id]
    if result["error"] is not None:
        raise TemplateError(result["error"])
    values: dict[str, Any] = result["rendered"]
    return values


def dag(version: Version, at: datetime | None = None, *, settings: Settings | None = None) -> dict[str, Any]:
    """Return a DAG with its tasks, edges and groups; with `at` the template fields are rendered for that logical date too.

    With `settings` the macros and filters of the DAG's own are at hand for that.
    """
    results = {} if at is None else _all_rendered(version, version.tasks, run_at(version, at), Renderer(version), settings)
    return {
        "dag_id": version.dag_id, "version": version.sha, "file": version.file, "generation": version.generation,
        "description": version.description, "owner": version.owner, "tags": list(version.tags), "schedule": version.schedule,
        "timezone": version.timezone, "start_date": version.start_date, "end_date": version.end_date, "catchup": version.catchup,
        "max_active_runs": version.max_active_runs, "max_active_tasks": version.max_active_tasks, "dagrun_timeout": version.dagrun_timeout,
        "params": dict(version.params), "default_args": dict(version.default_args), "groups": dict(version.groups), "doc_md": version.doc_md,
        "tasks": [task_fields(version, task) | results.get(task.task_id, {}) for task in version.tasks],
        "edges": [[task.task_id, version.tasks[other].task_id] for task in version.tasks for other in task.downstream],
        "sources": sorted(version.sources),
    }


def _all_rendered(
    version: Version, tasks: Sequence[TaskSpec], run: RunInfo, renderer: Renderer, settings: Settings | None
) -> dict[str, dict[str, Any]]:
    """Return {task_id: {"rendered": template fields or None, "error": why not or None}}."""
    results: dict[str, dict[str, Any]] = {}
    if settings is not None and (needing := [task.task_id for task in tasks if task.needs_source and _says_something(task)]):
        results = _in_child(version, needing, run, settings)
    results |= {task.task_id: _here(version, task, run, renderer) for task in tasks if task.task_id not in results}
    return {task.task_id: _shown(task, results[task.task_id]) for task in tasks}


def _shown(task: TaskSpec, result: Mapping[str, Any]) -> dict[str, Any]:
    values = result.get("values")
    rendered = None if values is None else {name: value for name, value in values.items() if name in task.template_fields}
    return {"rendered": rendered, "error": result.get("error")}


def _says_something(task: TaskSpec) -> bool:
    """Tell whether there is anything to render. What has no braces may still name a template file, by endings that only the source knows."""
    return any(task.fields.get(name) for name in task.template_fields)


def _here(version: Version, task: TaskSpec, run: RunInfo, renderer: Renderer) -> dict[str, Any]:
    try:
        return {"values": renderer.fields(task, context.build(version, task, run))}
    except TemplateError as error:
        return {"error": error.message}


def _in_child(version: Version, task_ids: Sequence[str], run: RunInfo, settings: Settings) -> dict[str, dict[str, Any]]:
    """Render tasks that may use what only the DAG's source has."""
    try:
        return loader.render_source(version, run, settings, task_ids)
    except DagLoadError as error:
        return {task_id: {"error": error.message} for task_id in task_ids}


def task_fields(version: Version, task: TaskSpec) -> dict[str, Any]:
    """Return one task as it is written."""
    return {
        "task_id": task.task_id, "operator": task.operator_name, "group": task.group_id, "trigger_rule": task.trigger_rule,
        "upstream": [version.tasks[other].task_id for other in task.upstream],
        "downstream": [version.tasks[other].task_id for other in task.downstream],
        "queue": task.queue, "pool": task.pool, "pool_slots": task.pool_slots, "weight": task.weight, "retries": task.retries,
        "retry_delay": task.retry_delay, "execution_timeout": task.execution_timeout, "worker_labels": list(task.worker_labels),
        "outputs": list(task.outputs), "owner": task.owner, "unsupported": task.unsupported,
        "fields": {name: value for name, value in task.fields.items() if name in task.template_fields},
    }


def environment(version: Version, task: TaskSpec, run: RunInfo) -> dict[str, str]:
    """Return the variables that the author gave a task, rendered; raises TemplateError."""
    own = task.fields.get("env") or {}
    values = Renderer(version).value(own, context.build(version, task, run), task_id=task.task_id, field="env")
    return {str(name): str(value) for name, value in values.items()}


def indented(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the tasks of a DAG below the first one that each follows, with `shown`: the id, indented by its depth."""
    by_id = {row["task_id"]: row for row in rows}
    children: dict[str, list[str]] = {}
    for row in rows:
        children.setdefault(row["upstream"][-1] if row["upstream"] else "", []).append(row["task_id"])
    ordered: list[dict[str, Any]] = []
    rest = [(name, 0) for name in reversed(children.get("", []))]
    while rest:
        name, depth = rest.pop()
        ordered.append(by_id[name] | {"shown": "  " * depth + name})
        rest += [(child, depth + 1) for child in reversed(children.get(name, []))]
    return ordered
