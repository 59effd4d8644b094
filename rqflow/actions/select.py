"""The RUN and TASK arguments of commands: what a person types, and which runs and tasks it names. Pure."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from rqflow.dag.version import Version
from rqflow.exceptions import TaskNotFound, UsageError
from rqflow.states import TaskState


@dataclass(frozen=True, kw_only=True, slots=True)
class ByName:
    """A run id, or the beginning of one."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Latest:
    """The newest run of a DAG; with `failed` the newest that failed."""

    dag_id: str
    failed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ByDate:
    """The run of a DAG for a logical date."""

    dag_id: str
    logical_date: datetime


RunReference = ByName | Latest | ByDate


def run_reference(text: str) -> RunReference:
    """Return what `text` names: DAG@latest, DAG@last-failed, DAG@DATE, else a run id or its beginning."""
    dag_id, at, which = text.rpartition("@")
    if not at or not dag_id:
        return ByName(text=text)
    if which in {"latest", "last-failed"}:
        return Latest(dag_id=dag_id, failed=which == "last-failed")
    try:
        moment = datetime.fromisoformat(which)
    except ValueError:
        return ByName(text=text)
    return ByDate(dag_id=dag_id, logical_date=moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def tasks(version: Version, selector: str, states: Mapping[str, TaskState] | None = None) -> tuple[int, ...]:
    """Return the indices of the tasks that `selector` names, in topological order.

    A selector is a task id, a pattern (`align_*`), `group:ID`, or `state:STATE` (of the run whose `states` are given), with a `+`
    before it for all that it depends on and one after it for all that depends on it. Raises TaskNotFound when it names none.
    """
    upstream, downstream = selector.startswith("+"), selector.endswith("+")
    named = _named(version, selector.removeprefix("+").removesuffix("+"), states or {})
    if not named:
        near = difflib.get_close_matches(selector.strip("+"), version.by_id, n=1)
        raise TaskNotFound(f"{version.dag_id} has no task {selector.strip('+')}", hint=f"Did you mean {near[0]}?" if near else "")
    return tuple(sorted(named | beside(version, named, upstream=upstream, downstream=downstream)))


def beside(version: Version, indices: set[int], *, upstream: bool, downstream: bool) -> set[int]:
    """Return the indices of all tasks that these depend on, and of all that depend on them, as asked for."""
    found = _closure(version, indices, "upstream") if upstream else set()
    return found | (_closure(version, indices, "downstream") if downstream else set())


def one_task(version: Version, task_id: str) -> int:
    """Return the index of the task of this id; raises TaskNotFound, naming the nearest."""
    found = tasks(version, task_id)
    if len(found) != 1:
        raise UsageError(f"{task_id} names {len(found)} tasks; this command takes one")
    return found[0]


def _named(version: Version, text: str, states: Mapping[str, TaskState]) -> set[int]:
    kind, colon, rest = text.partition(":")
    if colon and kind == "group":
        return {task.index for task in version.tasks if task.group_id == rest or task.group_id.startswith(f"{rest}.")}
    if colon and kind == "state":
        return {task.index for task in version.tasks if states.get(task.task_id) == rest}
    return {task.index for task in version.tasks if fnmatch.fnmatchcase(task.task_id, text)}


def _closure(version: Version, start: set[int], direction: str) -> set[int]:
    """Return all that is reached from `start` along the edges of one direction."""
    found: set[int] = set()
    rest = list(start)
    while rest:
        for index in getattr(version.tasks[rest.pop()], direction):
            if index not in found:
                found.add(index)
                rest.append(index)
    return found
