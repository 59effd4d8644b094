"""Questions about a DAG's edges: order, cycles, who comes after whom, and what a branch or a short circuit skips. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from rqflow.dag.problems import nearest
from rqflow.dag.version import TaskSpec, Version
from rqflow.exceptions import TaskFailed


def topological_order(upstream: Mapping[str, Collection[str]]) -> list[str]:
    """Return the keys of {task id: its upstream ids}, each after its upstream ones; the same input gives the same order.

    Tasks that wait for nothing stand first, then those that wait only for them, and so on; within such a layer the order of `upstream`
    is kept. Raises graphlib.CycleError.
    """
    position = {task_id: number for number, task_id in enumerate(upstream)}
    sorter = TopologicalSorter(upstream)
    sorter.prepare()
    order: list[str] = []
    while sorter.is_active():
        layer = sorted(sorter.get_ready(), key=position.__getitem__)
        order.extend(layer)
        sorter.done(*layer)
    return order


def find_cycle(upstream: Mapping[str, Collection[str]]) -> list[str]:
    """Return a cycle of {task id: its upstream ids} in the direction of its edges, [a, b, a], or nothing."""
    try:
        TopologicalSorter(upstream).prepare()
    except CycleError as error:
        ring: list[str] = error.args[1][:-1]
        first = ring.index(next(task_id for task_id in upstream if task_id in ring))
        ring = ring[first:] + ring[:first]
        return [*ring, ring[0]]
    return []


def descendants(version: Version, start: Iterable[int]) -> set[int]:
    """Return the indices of all tasks that come after one of `start`, which are not among them unless they come after another one."""
    found: set[int] = set()
    todo = list(start)
    while todo:
        for index in version.tasks[todo.pop()].downstream:
            if index not in found:
                found.add(index)
                todo.append(index)
    return found


def branch_skips(version: Version, index: int, chosen_ids: Collection[str]) -> tuple[int, ...]:
    """Return the indices to be skipped when branch task `index` chose these tasks, or groups of tasks, directly downstream of it.

    The direct downstream tasks are skipped but for the chosen ones and those that can be reached from them. Raises TaskFailed for an id
    that does not exist or is not directly downstream.
    """
    direct = set(version.tasks[index].downstream)
    chosen = {one for name in chosen_ids for one in _chosen(version, index, name)}
    return tuple(sorted(direct - chosen - descendants(version, chosen)))


def _chosen(version: Version, index: int, name: str) -> list[int]:
    branch = version.tasks[index].task_id
    direct = set(version.tasks[index].downstream)
    if name in version.by_id:
        found = [version.by_id[name].index]
    elif name in version.groups:
        found = _group_roots(version, name)
    else:
        raise TaskFailed(f"the branch {branch} returned {name!r}, which is no task of this DAG{nearest(name, version.by_id)}")
    if not direct.issuperset(found):
        raise TaskFailed(f"the branch {branch} returned {name!r}, which is not directly downstream of it")
    return found


def _group_roots(version: Version, group_id: str) -> list[int]:
    inside = {task.index for task in version.tasks if in_group(version, task, group_id)}
    return [index for index in sorted(inside) if inside.isdisjoint(version.tasks[index].upstream)]


def in_group(version: Version, task: TaskSpec, group_id: str) -> bool:
    """Tell whether `task` is in this group, or in a group within it."""
    current = task.group_id
    while current and current != group_id:
        current = version.groups.get(current, {}).get("parent", "")
    return bool(current)


def subdag_of(version: Version, task: TaskSpec) -> tuple[str, str] | None:
    """Return (group, dag_id) of the innermost SubDag that `task` is in, or None."""
    current = task.group_id
    while current:
        about = version.groups.get(current, {})
        if about.get("subdag"):
            return current, str(about["subdag"])
        current = about.get("parent", "")
    return None


def short_circuit_skips(version: Version, index: int, all_downstream: bool) -> tuple[int, ...]:
    """Return the indices to be skipped when short-circuit task `index` said no.

    Either everything after it, whatever the trigger rules there, or the direct downstream tasks only, whose own downstream then follows
    its trigger rules.
    """
    return tuple(sorted(descendants(version, [index]) if all_downstream else set(version.tasks[index].downstream)))
