"""The graph of a DAG's version for the page: task groups, and fans of tasks that stand alike, are one node each until they are opened. Pure.

What is drawn depends on the structure alone, so a drawing can be kept by version and what is open; states are laid over it by the ids of its nodes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rqflow.actions.dot import DotEdge, DotFrame, DotNode, digraph, quoted
from rqflow.actions.drawing import WORST_FIRST
from rqflow.dag.version import Version
from rqflow.exceptions import TaskNotFound
from rqflow.states import TaskState

TASK, GROUP, FAN = "task", "group", "fan"
#: A fan has more members than this; neighbours are compared to this depth.
ALIKE, DEPTH = 8, 16
#: Characters of the name on a node.
LABEL = 44
#: Nodes up to which a drawing is readable.
READABLE = 300
#: What stands before the name of a fan: its first task.
_FAN = "*"


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphNode:
    """A node."""

    #: Its id in the picture: the same for the same task, group or fan.
    id: str
    #: Task id, group id, or for a fan `*` and the id of its first task: what is given as `opened` to open a group or a fan.
    name: str
    #: task, group or fan.
    kind: str
    label: str
    #: The opened group around it; empty: none.
    group_id: str
    #: The tasks that it stands for.
    task_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphFrame:
    """An opened task group."""

    id: str
    group_id: str
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphView:
    """A drawing."""

    dag_id: str
    #: sha of the version.
    version: str
    #: For Graphviz and viz-js. Each node has its id, and the classes `task`, `group` or `fan`; each edge the class `edge`.
    dot: str
    nodes: tuple[GraphNode, ...]
    frames: tuple[GraphFrame, ...]
    #: Pairs of ids of nodes.
    edges: tuple[tuple[str, str], ...]
    #: Names of the groups and fans that are open.
    opened: tuple[str, ...]
    #: The task around which it is drawn, and how far; None: all is.
    focus: str | None
    hops: int
    #: False: it has more nodes than people can read.
    is_readable: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeState:
    """How a node stands: its worst state, and {state: how many of its tasks are in it}."""

    id: str
    state: TaskState
    counts: Mapping[str, int]


def graph(version: Version, *, opened: Collection[str] = (), focus: str | None = None, hops: int = 2) -> GraphView:
    """Return what is drawn of a version with these groups and fans `opened`; `focus` is a task whose neighbours up to `hops` away are all there is.

    Names that are none are passed over: an older drawing may have had them. Raises TaskNotFound for a focus that is none.
    """
    if focus is not None and focus not in version.by_id:
        raise TaskNotFound(f"{version.dag_id} has no task {focus}")
    units = _Units(version, {*opened}, focus)
    shown = units.around(focus, hops) if focus is not None else set(range(len(units.nodes)))
    nodes = tuple(node for number, node in enumerate(units.nodes) if number in shown)
    edges = {pair: label for pair, label in units.edges.items() if pair[0] in shown and pair[1] in shown}
    frames = _frames(version, nodes)
    dot = _dot(version, nodes, frames, [(units.nodes[above], units.nodes[below], label) for (above, below), label in edges.items()])
    fans = {_FAN + version.tasks[members[0]].task_id for members in units.fans}
    return GraphView(
        dag_id=version.dag_id, version=version.sha, dot=dot, nodes=nodes, frames=frames,
        edges=tuple((units.nodes[above].id, units.nodes[below].id) for above, below in edges),
        opened=tuple(sorted({*opened} & (version.groups.keys() | fans))), focus=focus, hops=hops, is_readable=len(nodes) <= READABLE)


def told(view: GraphView, states: Mapping[str, TaskState]) -> list[NodeState]:
    """Return how each node stands by the states of a run's tasks; nodes of which the run has no task are left out."""
    found = []
    for node in view.nodes:
        counts = Counter(states[task_id] for task_id in node.task_ids if task_id in states)
        worst = next((state for state in WORST_FIRST if counts[state]), None)
        if worst:
            found.append(NodeState(id=node.id, state=worst, counts={state.value: counts[state] for state in TaskState if counts[state]}))
    return found


class _Units:
    """What is drawn as one: a task, a closed group, a fan."""

    def __init__(self, version: Version, opened: set[str], focus: str | None) -> None:
        self.version = version
        self._paths = {group_id: _path(version, group_id) for group_id in {task.group_id for task in version.tasks}}
        # Whatever is around the focus is open.
        opened = opened | {*self._paths[version.by_id[focus].group_id]} if focus is not None else opened
        closed = [next((group for group in self._paths[task.group_id] if group not in opened), "") for task in version.tasks]
        self.fans = _fans(version, closed)
        self.nodes: list[GraphNode] = []
        self._of_task = [-1] * len(version.tasks)
        at_first = {members[0]: members for members in self.fans if _FAN + version.tasks[members[0]].task_id not in opened}
        in_fan = {index for members in at_first.values() for index in members if version.tasks[index].task_id != focus}
        groups: dict[str, list[int]] = {}
        for index, group_id in enumerate(closed):
            if group_id:
                groups.setdefault(group_id, []).append(index)
        for task in version.tasks:
            if self._of_task[task.index] >= 0:
                continue
            if closed[task.index]:
                self._add(GROUP, closed[task.index], groups[closed[task.index]])
            elif task.index in in_fan:
                members = next(found for found in self.fans if task.index in found)
                self._add(FAN, _FAN + version.tasks[members[0]].task_id, [index for index in members if index in in_fan])
            else:
                self._add(TASK, task.task_id, [task.index])
        self.edges = self._edges()

    def _add(self, kind: str, name: str, members: Sequence[int]) -> None:
        for index in members:
            self._of_task[index] = len(self.nodes)
        task_ids = tuple(self.version.tasks[index].task_id for index in members)
        path = self._paths[self.version.tasks[members[0]].group_id]
        around = path[path.index(name) - 1:path.index(name)] if kind == GROUP else path[-1:]
        group_id = "".join(around)
        self.nodes.append(GraphNode(id=_id(kind, name), name=name, kind=kind, label=_label(kind, name, group_id, task_ids), group_id=group_id,
                                    task_ids=task_ids))

    def _edges(self) -> dict[tuple[int, int], str]:
        found: dict[tuple[int, int], str] = {}
        for task in self.version.tasks:
            labels = self.version.edge_labels.get(task.task_id, {})
            for below in task.downstream:
                pair = self._of_task[task.index], self._of_task[below]
                if pair[0] != pair[1]:
                    found[pair] = found.get(pair) or str(labels.get(self.version.tasks[below].task_id) or "")
        return found

    def around(self, focus: str, hops: int) -> set[int]:
        """Return the nodes from which the focus is reached in so many steps, and those that are reached from it."""
        start = self._of_task[self.version.by_id[focus].index]
        found = {start}
        for one, other in ((0, 1), (1, 0)):
            following: dict[int, list[int]] = {}
            for pair in self.edges:
                following.setdefault(pair[one], []).append(pair[other])
            edge = {start}
            for _ in range(max(hops, 0)):
                edge = {number for before in edge for number in following.get(before, ())}
                found |= edge
        return found


def _fans(version: Version, closed: Sequence[str]) -> list[list[int]]:
    """Return the tasks, of those in no closed group, that stand alike, where there are more than ALIKE: of the same operator, group and trigger
    rule, and with neighbours that stand alike too. So the steps of 100 samples are a fan each, though each sample has tasks of its own.
    """
    kinds: list[int] = _numbered((task.operator_name, task.group_id, task.trigger_rule, closed[task.index]) for task in version.tasks)
    for _ in range(DEPTH):
        finer = _numbered((kinds[task.index], frozenset(kinds[up] for up in task.upstream), frozenset(kinds[down] for down in task.downstream))
                          for task in version.tasks)
        if max(finer, default=0) == max(kinds, default=0):
            break
        kinds = finer
    members: dict[int, list[int]] = {}
    for task in version.tasks:
        if not closed[task.index]:
            members.setdefault(kinds[task.index], []).append(task.index)
    return [found for found in members.values() if len(found) > ALIKE]


def _numbered(kinds: Iterable[object]) -> list[int]:
    """Return a number for each, the same for the same."""
    numbers: dict[object, int] = {}
    return [numbers.setdefault(kind, len(numbers)) for kind in kinds]


def _path(version: Version, group_id: str) -> tuple[str, ...]:
    """Return a group and those around it, the outermost first."""
    found: list[str] = []
    while group_id and group_id not in found:
        found.insert(0, group_id)
        group_id = str(version.groups.get(group_id, {}).get("parent") or "")
    return tuple(found)


def _id(kind: str, name: str) -> str:
    return f"{kind[0]}{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def _label(kind: str, name: str, group_id: str, task_ids: Sequence[str]) -> str:
    if kind == FAN:
        front = _shared(task_ids)
        back = _shared([task_id[len(front):][::-1] for task_id in task_ids])[::-1]
        name = f"{front}*{back}"
    short = name.removeprefix(f"{group_id}.") if group_id else name
    return short if kind == TASK else f"{short} × {len(task_ids)}"


def _shared(names: Sequence[str]) -> str:
    """Return with what all of these names begin."""
    least, most = min(names), max(names)
    return least[:next((place for place, (one, other) in enumerate(zip(least, most, strict=False)) if one != other), len(least))]


def _frames(version: Version, nodes: Sequence[GraphNode]) -> tuple[GraphFrame, ...]:
    """Return the opened groups around these nodes, a group before those in it."""
    paths = dict.fromkeys(group_id for node in nodes for group_id in _path(version, node.group_id))
    return tuple(GraphFrame(id=_id("frame", group_id), group_id=group_id, label=group_id) for group_id in paths)


def _short(label: str) -> str:
    """Return a label as a node has room for it; its tooltip has all of it."""
    return label if len(label) <= LABEL else f"{label[:LABEL - 12]}…{label[-11:]}"


def _dot(version: Version, nodes: Sequence[GraphNode], frames: Sequence[GraphFrame], edges: Sequence[tuple[GraphNode, GraphNode, str]]) -> str:
    shapes = {TASK: {}, GROUP: {"shape": "folder", "style": "filled"}, FAN: {"peripheries": "2"}}
    return digraph(
        version.dag_id,
        head=['graph [rankdir=LR, nodesep=0.15, ranksep=0.4, fontname="sans-serif", fontsize=11, bgcolor=transparent];',
              'node [shape=box, style="rounded,filled", fillcolor=white, fontname="sans-serif", fontsize=11, height=0.3, margin="0.12,0.04"];',
              'edge [class="edge", arrowsize=0.6, fontname="sans-serif", fontsize=9];'],
        frames=[DotFrame(name=frame.group_id, label=frame.label, parent="".join(_path(version, frame.group_id)[-2:-1]),
                         attributes={"id": quoted(frame.id), "class": quoted("frame")}) for frame in frames],
        nodes=[DotNode(name=node.id, frame=node.group_id, attributes={
            "id": quoted(node.id), "class": quoted(node.kind), "label": quoted(_short(node.label)), "tooltip": quoted(node.name.removeprefix(_FAN)),
            **shapes[node.kind]}) for node in nodes],
        edges=[DotEdge(above=above.id, below=below.id, attributes={"label": quoted(label)} if label else {}) for above, below, label in edges])
