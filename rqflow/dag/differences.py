"""What is different between two versions of a DAG, for people. Pure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from rqflow.dag.version import TaskSpec, Version

#: What follows from the places of tasks in a DAG, not from what its author wrote of this one.
_STRUCTURE = frozenset({"index", "upstream", "downstream", "weight"})
#: Lines that are shown of the difference of one text.
MOST_LINES = 40


def of_task(before: Version, after: Version, task_id: str) -> list[str]:
    """Return the lines that tell how a task differs in `after`: `- ` what was, `+ ` what is; none when it does not."""
    old, new = before.by_id.get(task_id), after.by_id.get(task_id)
    if new is None:
        return [f"{task_id}: the DAG does not have it any more; it runs as it was"]
    if old is None:
        return []
    lines = list(_of_fields(old, new))
    if new.needs_source or new.operator != "bash":
        lines += _of_sources(before, after, new)
    return [f"{task_id}:", *(f"  {line}" for line in lines)] if lines else []


def of_source(before: Version, after: Version, *, most: int | None = None) -> list[str]:
    """Return the unified difference of the DAG files of two versions, at most so many lines."""
    return _unified(_text(before.sources.get(before.file)), _text(after.sources.get(after.file)), after.file, most=most)


def of_version(before: Version, after: Version, names: tuple[str, str]) -> list[str]:
    """Return the unified difference of all files of two versions, which have these `names`; none when there is none.

    Where the files are equal, what they made differs by what they read: the lines tell the fields of the DAG and of its tasks then.
    """
    lines: list[str] = []
    for path in sorted({*before.sources, *after.sources}, key=lambda path: (path not in {before.file, after.file}, path)):
        was, now = before.sources.get(path), after.sources.get(path)
        if was != now:
            told = _unified(_text(was), _text(now), path, most=None, names=names)
            is_in_both = was is not None and now is not None
            lines += told or [f"{path}: its bytes differ" if is_in_both else f"{path}: only in {names[1 if was is None else 0]}"]
    return lines or list(_of_made(before, after))


def _of_made(old: Version, new: Version) -> Iterator[str]:
    """Give the lines that tell how the DAGs differ that equal files made."""
    for name in [field.name for field in fields(Version) if field.name not in {"tasks", "sources"}]:
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            yield from (f"- {name} = {_shown(was)}", f"+ {name} = {_shown(now)}")
    for task_id in sorted({*old.by_id, *new.by_id}):
        was, now = old.by_id.get(task_id), new.by_id.get(task_id)
        if was is None or now is None:
            yield f"{'+' if was is None else '-'} task {task_id}"
            continue
        lines = list(_of_fields(was, now))
        edges = [{version.tasks[index].task_id for index in task.upstream} for version, task in ((old, was), (new, now))]
        if edges[0] != edges[1]:
            lines += [f"- upstream = {_shown(sorted(edges[0]))}", f"+ upstream = {_shown(sorted(edges[1]))}"]
        yield from ([f"{task_id}:", *(f"  {line}" for line in lines)] if lines else [])


def _of_fields(old: TaskSpec, new: TaskSpec) -> Iterator[str]:
    names = [field.name for field in fields(TaskSpec) if field.name not in _STRUCTURE | {"fields"}]
    pairs = [(name, getattr(old, name), getattr(new, name)) for name in names]
    pairs += [(name, old.fields.get(name), new.fields.get(name)) for name in dict.fromkeys([*old.fields, *new.fields])]
    for name, was, now in pairs:
        if was == now:
            continue
        if isinstance(was, str) and isinstance(now, str) and "\n" in was + now:
            yield from _unified(was, now, name, most=MOST_LINES)
        else:
            yield from (f"- {name} = {_shown(was)}", f"+ {name} = {_shown(now)}")


def _of_sources(before: Version, after: Version, task: TaskSpec) -> list[str]:
    """Return what is different in the files of which a task that runs Python, or reads a template file, may use anything."""
    lines: list[str] = []
    for path in sorted({*before.sources, *after.sources}):
        was, now = before.sources.get(path), after.sources.get(path)
        if was != now and (task.needs_source or path != after.file):
            lines += _unified(_text(was), _text(now), path, most=MOST_LINES)
    return lines


def _unified(was: str, now: str, name: str, *, most: int | None, names: tuple[str, str] = ("before", "now")) -> list[str]:
    first, second = (f"{name} ({one})" for one in names)
    lines = list(difflib.unified_diff(was.splitlines(), now.splitlines(), first, second, lineterm="", n=2))
    return lines if most is None or len(lines) <= most else [*lines[:most], f"… and {len(lines) - most} lines more"]


def _text(source: Any) -> str:
    return source if isinstance(source, str) else "" if source is None else "(no text)"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
