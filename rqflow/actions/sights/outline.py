"""The tasks of a version in the order in which lists show them: each task group in one piece, otherwise as the version has them.

Outlines are kept for the whole process: a version never changes, and to read one of 1,000 tasks takes longer than to draw it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from threading import Lock
from typing import Any

from rqflow.broker.broker import Broker
from rqflow.dag.version import Version
from rqflow.store import dags
from rqflow.store.engine import Engine, reading

#: Tasks of all outlines that are kept: some 1.5 kB each.
_KEPT = 40_000


@dataclass(frozen=True, kw_only=True, slots=True)
class OutlineTask:
    """A task."""

    task_id: str
    #: Its id without those of its group.
    label: str
    operator: str
    #: The group that it is in; empty: none.
    group_id: str
    #: How many groups it is in.
    depth: int
    #: Its index in the version.
    index: int


@dataclass(frozen=True, kw_only=True, slots=True)
class OutlineGroup:
    """A task group. Its tasks are those at the places from `start` to before `stop`; the groups within it are among the groups after it."""

    group_id: str
    #: Its id without that of the group around it.
    label: str
    #: The group around it; empty: none.
    parent: str
    depth: int
    start: int
    stop: int
    tooltip: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outline:
    """A version as lists show it. Places are numbers in `tasks`."""

    version: str
    tasks: tuple[OutlineTask, ...]
    #: A group stands before those that it holds.
    groups: tuple[OutlineGroup, ...]
    #: {task_id: its place}.
    places: Mapping[str, int]
    #: The task ids by their index in the version, and for each place the index of its task.
    task_ids: tuple[str, ...]
    indices: tuple[int, ...]
    #: The version without its sources and what its tasks execute.
    bare: Version


def outline_of(version: Version) -> Outline:
    """Return the outline of a version."""
    tasks: list[OutlineTask] = []
    groups: list[OutlineGroup] = []
    path = lru_cache(maxsize=None)(lambda group_id: _path(version.groups, group_id))
    root: dict[str, Any] = {}
    for task in version.tasks:
        inside = root
        for group_id in path(task.group_id):
            # Groups and tasks have no ids in common, but only a kind apart is sure.
            inside = inside.setdefault(f"g{group_id}", {})
        inside[f"t{task.task_id}"] = task
    _walk(version.groups, root, "", 0, tasks, groups)
    return Outline(version=version.sha, tasks=tuple(tasks), groups=tuple(groups), places={task.task_id: n for n, task in enumerate(tasks)},
                   task_ids=tuple(task.task_id for task in version.tasks), indices=tuple(task.index for task in tasks), bare=_bare(version))


def _bare(version: Version) -> Version:
    return replace(version, sources={}, default_args={}, tasks=tuple(replace(task, fields={}, params={}, doc="") for task in version.tasks))


def _path(groups: Mapping[str, Any], group_id: str) -> tuple[str, ...]:
    """Return the groups around a task of this group, the outermost first."""
    found: list[str] = []
    while group_id and group_id not in found:
        found.insert(0, group_id)
        group_id = str(groups.get(group_id, {}).get("parent") or "")
    return tuple(found)


def _walk(known: Mapping[str, Any], inside: Mapping[str, Any], group_id: str, depth: int, tasks: list[OutlineTask],
          groups: list[OutlineGroup]) -> None:
    for name, entry in inside.items():
        if not name.startswith("g"):
            tasks.append(OutlineTask(task_id=entry.task_id, label=_short(entry.task_id, group_id), operator=entry.operator_name, group_id=group_id,
                                     depth=depth, index=entry.index))
            continue
        inner, start, at = name[1:], len(tasks), len(groups)
        _walk(known, entry, inner, depth + 1, tasks, groups)
        tooltip = str(known.get(inner, {}).get("tooltip") or "")
        groups.insert(at, OutlineGroup(group_id=inner, label=_short(inner, group_id), parent=group_id, depth=depth, start=start, stop=len(tasks),
                                       tooltip=tooltip))


def _short(name: str, group_id: str) -> str:
    return name.removeprefix(f"{group_id}.") if group_id else name


class Outlines:
    """The outlines that this process has used last. For all threads."""

    def __init__(self, most: int = _KEPT) -> None:
        """Keep those of `most` tasks in all, one at least."""
        self._most, self._lock = most, Lock()
        self._kept: dict[str, Outline] = {}

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._kept.clear()

    def of(self, broker: Broker | None, engine: Engine, shas: Iterable[str | None]) -> dict[str, Outline]:
        """Return {sha: outline} of these versions; those that nobody knows are left out."""
        wanted = {sha for sha in shas if sha}
        with self._lock:
            found = {sha: self._kept[sha] for sha in wanted & self._kept.keys()}
        missing = wanted - found.keys()
        made = {sha: outline_of(version) for sha, version in _versions(broker, engine, missing).items()} if missing else {}
        with self._lock:
            for sha, outline in (found | made).items():
                # The one used last is the last to go.
                self._kept.pop(sha, None)
                self._kept[sha] = outline
            while len(self._kept) > 1 and sum(len(outline.tasks) for outline in self._kept.values()) > self._most:
                self._kept.pop(next(iter(self._kept)))
        return found | made


def _versions(broker: Broker | None, engine: Engine, shas: set[str]) -> dict[str, Version]:
    with reading(engine) as connection:
        found = dags.versions(connection, shas)
    if broker is not None:
        # What was started while the history could not be written is in Redis alone.
        found |= {sha: version for sha in shas - found.keys() if (version := broker.version(sha))}
    return found


OUTLINES = Outlines()
