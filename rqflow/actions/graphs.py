"""The graph of a DAG as text: for people in a terminal, for Graphviz, for Mermaid. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from rqflow.dag.version import TaskSpec, Version
from rqflow.states import TaskState

ASCII, DOT, MERMAID = "ascii", "dot", "mermaid"
FORMATS = (ASCII, DOT, MERMAID)
#: Colours of states, for Graphviz and Mermaid.
_COLOURS = {
    TaskState.SUCCESS: "#b7e4c7", TaskState.FAILED: "#ffb3b3", TaskState.LOST: "#ffb3b3", TaskState.RUNNING: "#b3d9ff", TaskState.QUEUED: "#e6e6e6",
    TaskState.UP_FOR_RETRY: "#ffe8a3", TaskState.UPSTREAM_FAILED: "#ffd6b3", TaskState.SKIPPED: "#f5d0fe", TaskState.CANCELLED: "#d9d9d9",
}


def text(version: Version, style: str, states: Mapping[str, TaskState] | None = None) -> str:
    """Return the graph in one of FORMATS; with the `states` of a run its tasks are shown in them."""
    return {ASCII: _ascii, DOT: _dot, MERMAID: _mermaid}[style](version, states or {})


def _ascii(version: Version, states: Mapping[str, TaskState]) -> str:
    """Return one line a task, in topological order: what it is, and what it waits for."""
    width = max((len(task.task_id) for task in version.tasks), default=0)
    lines = []
    depths: list[int] = []
    for task in version.tasks:
        depths.append(max((depths[up] + 1 for up in task.upstream), default=0))
        upstream = ", ".join(version.tasks[up].task_id for up in task.upstream)
        state = f"[{states[task.task_id].value}] " if task.task_id in states else ""
        lines.append(f"{'  ' * depths[task.index]}{task.task_id:<{width}}  {state}{f'<- {upstream}' if upstream else ''}".rstrip())
    return "\n".join(lines) + "\n"


def _dot(version: Version, states: Mapping[str, TaskState]) -> str:
    lines = [f"digraph {_quoted(version.dag_id)} {{", "  rankdir=LR;", "  node [shape=box, style=\"rounded,filled\", fillcolor=white];"]
    groups = sorted({task.group_id for task in version.tasks})
    for number, group in enumerate(groups):
        inside = [_dot_node(task, states) for task in version.tasks if task.group_id == group]
        if group:
            lines += [f"  subgraph cluster_{number} {{", f"    label={_quoted(group)};", *(f"    {node}" for node in inside), "  }"]
        else:
            lines += [f"  {node}" for node in inside]
    for task in version.tasks:
        for below in task.downstream:
            other = version.tasks[below].task_id
            label = version.edge_labels.get(task.task_id, {}).get(other)
            lines.append(f"  {_quoted(task.task_id)} -> {_quoted(other)}{f' [label={_quoted(label)}]' if label else ''};")
    return "\n".join([*lines, "}"]) + "\n"


def _dot_node(task: TaskSpec, states: Mapping[str, TaskState]) -> str:
    colour = _COLOURS.get(states[task.task_id], "white") if task.task_id in states else ""
    return f"{_quoted(task.task_id)}{f' [fillcolor={_quoted(colour)}]' if colour else ''};"


def _mermaid(version: Version, states: Mapping[str, TaskState]) -> str:
    lines = ["flowchart LR"]
    lines += [f"  t{task.index}[{_quoted(task.task_id)}]" for task in version.tasks]
    for task in version.tasks:
        for below in task.downstream:
            label = version.edge_labels.get(task.task_id, {}).get(version.tasks[below].task_id)
            lines.append(f"  t{task.index} -->{f'|{_quoted(label)}|' if label else ''} t{below}")
    lines += [f"  style t{task.index} fill:{_COLOURS[states[task.task_id]]}" for task in version.tasks if states.get(task.task_id) in _COLOURS]
    return "\n".join(lines) + "\n"


def _quoted(name: str) -> str:
    """Return a name in quotes, as all of these languages take it."""
    return json.dumps(name, ensure_ascii=False)
