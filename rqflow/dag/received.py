"""Versions that came from elsewhere as text: nothing of them is believed before it was looked at. Who loads a file here has looked at more."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from types import NoneType, UnionType
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

from rqflow.dag import callbacks, params, series, timetable
from rqflow.dag.generation import NATIVE
from rqflow.dag.trigger_rule import TriggerRule
from rqflow.dag.version import TaskSpec, Version
from rqflow.exceptions import RqflowError
from rqflow.values import is_text

_ID, _NAME = re.compile(r"[\w.-]{1,250}"), re.compile(r"[A-Za-z0-9_.:@-]{1,200}")
#: Tasks of one DAG; the largest number of anything; a time for which schedules are tried.
_TASKS, _MOST, _DATE = 100_000, 2**31 - 1, datetime(2026, 1, 1, tzinfo=UTC)
_GENERATIONS, _ON_LOST = {"1", "2", "3", NATIVE}, {"retry", "fail", "wait"}


def version_of(text: str, signatures: tuple[str, ...] = ()) -> Version:
    """Return the version that somebody has sent as its canonical JSON. Raises ValueError with what is wrong."""
    try:
        json.loads(text, parse_constant=_no_constant)
        found = Version.from_json(text, signatures)
        _check_types("the DAG", found)
        for task in found.tasks:
            _check_types(f"task {str(task.task_id)[:50]!r}", task)
        # Made anew of its fields, for the one that was read keeps the text that it came as.
        if replace(found).json != text:
            raise ValueError("it is not written as the canonical JSON of a version")
        _check_names(found)
        _check_edges(found)
        _check_dates(found)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except (RqflowError, LookupError, TypeError, AttributeError, OverflowError) as error:
        # A schedule, a time zone or a schema that is none: each library has its own word for that.
        raise ValueError(f"something in it is none of what it should be: {error}") from error
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no value of JSON")


_HINTS = {kind: get_type_hints(kind) for kind in (Version, TaskSpec)}


def _check_types(where: str, thing: Version | TaskSpec) -> None:
    hints = _HINTS[type(thing)]
    for field in fields(thing):
        value = getattr(thing, field.name)
        if not _fits(value, hints[field.name]):
            raise ValueError(f"{where}: {field.name} is not {hints[field.name]}: {str(value)[:50]!r}")


def _fits(value: Any, kind: Any) -> bool:
    """Tell whether a value of JSON is of a type."""
    if kind is Any:
        return True
    origin = get_origin(kind)
    if origin is UnionType:
        return any(_fits(value, one) for one in get_args(kind))
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(one, get_args(kind)[0]) for one in value)
    if origin is not None:
        return isinstance(value, Mapping)
    if kind is NoneType:
        return value is None
    if kind is bool:
        return isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MOST
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= 1e12
    return isinstance(value, TaskSpec) if kind is TaskSpec else isinstance(value, str)


def _check_names(version: Version) -> None:
    """Raise ValueError unless all that is a name, or one of few words, is what it may be."""
    for kind, name in (("dag_id", version.dag_id), *(("task_id", task.task_id) for task in version.tasks)):
        if not _ID.fullmatch(name):
            raise ValueError(f"{kind} {name[:50]!r}: it has 1 to 250 letters, digits, dashes, dots and underscores")
    for text in (version.file, version.owner, version.description, *version.tags, *version.template_searchpath):
        if not is_text(text):
            raise ValueError(f"{text[:50]!r} holds what is no text")
    if version.generation not in _GENERATIONS or version.max_active_runs < 1 or (version.max_active_tasks or 1) < 1:
        raise ValueError("generation, max_active_runs or max_active_tasks is none")
    if not {*version.callbacks, *(name for task in version.tasks for name in task.callbacks)} <= set(callbacks.Kind):
        raise ValueError("there is no such callback")
    for task in version.tasks:
        _check_task(task)
    _check_files(version)


def _check_task(task: TaskSpec) -> None:
    for name in (task.queue, task.pool, *task.worker_labels):
        if not _NAME.fullmatch(name.partition("=")[0]) or not is_text(name):
            raise ValueError(f"task {task.task_id}: {name[:50]!r} may only hold letters, digits and _ . : @ -")
    if task.trigger_rule not in set(TriggerRule) or task.on_lost not in _ON_LOST:
        raise ValueError(f"task {task.task_id}: there is no trigger_rule {task.trigger_rule[:50]!r}, or no on_lost {task.on_lost[:50]!r}")
    if task.pool_slots < 1 or task.retries < 0 or (task.max_active_per_dag or 1) < 1:
        raise ValueError(f"task {task.task_id}: pool_slots, retries or max_active_per_dag is too small")


def _check_files(version: Version) -> None:
    """Raise ValueError unless its files are texts, or bytes in base64, below a folder."""
    for path, source in version.sources.items():
        is_source = isinstance(source, str) or (isinstance(source, Mapping) and isinstance(source.get("base64"), str))
        if not is_source or not _is_inside(path):
            raise ValueError(f"the file {path[:50]!r} is none below the DAG's own folder, or is no text")
    if version.file and not _is_inside(version.file):
        raise ValueError(f"the file {version.file[:50]!r} is none below a folder")


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and is_text(path) and not path.startswith("/") and ".." not in parts


def _check_edges(version: Version) -> None:
    """Raise ValueError unless the tasks stand in topological order and name each other from both sides, and groups are what tasks name."""
    count = len(version.tasks)
    if count > _TASKS or len(version.by_id) != count:
        raise ValueError(f"it has more than {_TASKS:,} tasks, or two of one task_id")
    for place, task in enumerate(version.tasks):
        if task.index != place or any(not 0 <= one < place for one in task.upstream) or any(not place < one < count for one in task.downstream):
            raise ValueError(f"task {task.task_id}: the tasks do not stand in topological order")
    down = {(task.index, other) for task in version.tasks for other in task.downstream}
    if down != {(other, task.index) for task in version.tasks for other in task.upstream} or len(down) != sum(len(t.upstream) for t in version.tasks):
        raise ValueError("upstream and downstream of the tasks do not fit")
    for name, group in version.groups.items():
        if not isinstance(group, Mapping) or not is_text(name):
            raise ValueError(f"the group {name[:50]!r} is none")
    if any(not isinstance(edges, Mapping) for edges in version.edge_labels.values()):
        raise ValueError("the labels of edges are none")


def _check_dates(version: Version) -> None:
    for text in (version.start_date, version.end_date, *(date for task in version.tasks for date in (task.start_date, task.end_date))):
        if text is not None and not 1 < series.moment(text).year < 9999:
            raise ValueError(f"{text[:50]!r} is no date")
    timetable.zone(version.timezone)
    timetable.check(version.schedule)
    found = timetable.of(version)
    found.manual_interval(_DATE)
    if series.name_of(version) is not None:
        series.of(version, _DATE).next(None)
    for name, spec in version.param_specs.items():
        if not isinstance(spec, Mapping) or not isinstance(spec.get("schema", {}), Mapping):
            raise ValueError(f"the param {name[:50]!r} is none")
        if problem := params.schema_problem(spec.get("schema", {})):
            raise ValueError(f"the param {name[:50]!r}: {problem}")
