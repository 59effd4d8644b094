"""ExternalTaskMarker: what must run again in other DAGs when tasks of one do, as Airflow's clear follows it downstream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rqflow.actions import describe
from rqflow.dag import series
from rqflow.dag.version import TaskSpec, Version
from rqflow.exceptions import TemplateError
from rqflow.store import runs
from rqflow.store.engine import Engine, reading
from rqflow.store.runs import RunRecord

MARKER = "ExternalTaskMarker"

#: Returns the tasks that are cleared in a run with the task of this id, downstream.
Choose = Callable[[RunRecord, str], Iterable[TaskSpec]]
#: Returns the version of a run.
VersionOf = Callable[[RunRecord], Version]


def follow(engine: Engine, run: RunRecord, tasks: Iterable[TaskSpec], version_of: VersionOf, choose: Choose) -> None:
    """Call `choose` once for each task of another DAG that a marker among these tasks of a run marks, and for what the tasks mark that it returns.

    A marker of a date for which there is no run marks nothing. No marker is followed further than its recursion_depth says.
    """
    seen: set[tuple[str, str]] = set()
    todo: list[tuple[RunRecord, TaskSpec, int]] = [(run, task, _depth(task)) for task in tasks if _is_marker(task)]
    while todo:
        place, marker, left = todo.pop()
        fields = _fields(place, marker, version_of)
        other = _marked(engine, place, fields)
        task_id = str(fields.get("external_task_id"))
        if other is None or (other.run_key, task_id) in seen:
            continue
        seen.add((other.run_key, task_id))
        further = [task for task in choose(other, task_id) if _is_marker(task)]
        todo += [(other, task, min(left - 1, _depth(task))) for task in further if left > 1]


def _is_marker(task: TaskSpec) -> bool:
    return task.operator_name == MARKER and "external_dag_id" in task.fields


def _depth(marker: TaskSpec) -> int:
    return int(marker.fields.get("recursion_depth") or 10)


def _fields(run: RunRecord, marker: TaskSpec, version_of: VersionOf) -> Mapping[str, Any]:
    """Return what a marker says, rendered for its run; nothing where it cannot be."""
    if run.info is None or not any("{" in str(value) for value in marker.fields.values()):
        return marker.fields
    try:
        return describe.rendered(version_of(run), marker, run.info)
    except TemplateError:
        return {}


def _marked(engine: Engine, run: RunRecord, fields: Mapping[str, Any]) -> RunRecord | None:
    """Return the run that a marker of `run` marks, or None."""
    given = fields.get("logical_date")
    try:
        date = series.moment(str(given)) if given else run.logical_date
    except ValueError:
        return None
    if date is None or not fields.get("external_dag_id"):
        return None
    with reading(engine) as connection:
        return runs.at(connection, str(fields["external_dag_id"]), date)
