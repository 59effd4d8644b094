"""What a picture of a DAG shows: a node for each task, or for a whole task group, and the edges between them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rqflow.dag.version import Version
from rqflow.states import TaskState

#: Which task groups are one node: the outermost ones when there are more than MANY tasks, all outermost ones, none.
AUTO, ALL, NONE = "auto", "all", "none"
COLLAPSE = (AUTO, ALL, NONE)
#: Tasks up to which a picture shows each of them by itself.
MANY = 60
#: Which state a group is shown in: the first of these that one of its tasks is in.
WORST_FIRST = (
    TaskState.FAILED, TaskState.LOST, TaskState.UPSTREAM_FAILED, TaskState.RUNNING, TaskState.UP_FOR_RETRY, TaskState.UP_FOR_RESCHEDULE,
    TaskState.QUEUED, TaskState.PARKED, TaskState.PENDING, TaskState.CANCELLED, TaskState.SUCCESS, TaskState.SKIPPED, TaskState.REMOVED,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A task, or a task group that is drawn as one thing."""

    #: Id of the task, or of the group.
    name: str
    is_group: bool = False
    #: Group around it that is drawn as a frame; "": none.
    frame: str = ""
    #: How many tasks it stands for, and how many of them are in which state; empty when no run was asked for.
    tasks: int = 1
    counts: Mapping[TaskState, int]

    @property
    def state(self) -> TaskState | None:
        """The state that it is shown in; None when no run was asked for."""
        return next((state for state in WORST_FIRST if self.counts.get(state)), None)

    @property
    def label(self) -> str:
        """What stands on it."""
        return f"{self.name} ({self.tasks} tasks)" if self.is_group else self.name

    @property
    def told(self) -> str:
        """How it stands, in words: a state, or for a group how many tasks are in which; empty without a run."""
        if not self.counts or self.state is None:
            return ""
        return ", ".join(f"{n} {state.value}" for state, n in self.counts.items()) if self.is_group else self.state.value


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """Nodes in a topological order of their first tasks; edges as pairs of their numbers, with what is written at each."""

    dag_id: str
    nodes: tuple[Node, ...]
    edges: Mapping[tuple[int, int], str]

    def upstream(self) -> list[list[int]]:
        """Return for each node the numbers of those from which edges lead to it."""
        found: list[list[int]] = [[] for _ in self.nodes]
        for above, below in sorted(self.edges):
            found[below].append(above)
        return found

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        nodes = [{"id": node.name, "is_group": node.is_group, "group": node.frame, "tasks": node.tasks,
                  "state": node.state.value if node.state else None, "states": {state.value: n for state, n in node.counts.items()}}
                 for node in self.nodes]
        edges = [{"from": self.nodes[above].name, "to": self.nodes[below].name, "label": label} for (above, below), label in self.edges.items()]
        return {"dag_id": self.dag_id, "nodes": nodes, "edges": edges}


def draw(version: Version, states: Mapping[str, TaskState] | None = None, collapse: str = AUTO) -> Drawing:
    """Return what is drawn of a DAG; with the `states` of a run how it stands."""
    folds = collapse == ALL or (collapse == AUTO and len(version.tasks) > MANY)
    numbers: dict[tuple[str, bool], int] = {}
    of_task = []
    members: list[list[int]] = []
    for task in version.tasks:
        name = (_outermost(version, task.group_id), True) if folds and task.group_id else (task.task_id, False)
        number = numbers.setdefault(name, len(numbers))
        if number == len(members):
            members.append([])
        members[number].append(task.index)
        of_task.append(number)
    nodes = tuple(_node(version, name, is_group, inside, states or {}) for (name, is_group), inside in zip(numbers, members, strict=True))
    edges: dict[tuple[int, int], str] = {}
    for task in version.tasks:
        for below in task.downstream:
            pair = of_task[task.index], of_task[below]
            if pair[0] != pair[1]:
                label = str(version.edge_labels.get(task.task_id, {}).get(version.tasks[below].task_id) or "")
                edges[pair] = edges.get(pair) or label
    return Drawing(dag_id=version.dag_id, nodes=nodes, edges=edges)


def _outermost(version: Version, group_id: str) -> str:
    while parent := version.groups.get(group_id, {}).get("parent"):
        group_id = str(parent)
    return group_id


def _node(version: Version, name: str, is_group: bool, inside: list[int], states: Mapping[str, TaskState]) -> Node:
    names = [version.tasks[index].task_id for index in inside]
    counts = Counter(states[task_id] for task_id in names if task_id in states)
    return Node(name=name, is_group=is_group, frame="" if is_group else version.tasks[inside[0]].group_id, tasks=len(inside), counts=counts)
