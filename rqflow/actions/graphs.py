"""The graph of a DAG as text: for people in a terminal, for Graphviz, for Mermaid, for programs; and as a picture that Graphviz makes of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping

from rqflow.actions.dot import DotEdge, DotFrame, DotNode, digraph, quoted
from rqflow.actions.drawing import Drawing, Node
from rqflow.exceptions import RqflowError
from rqflow.states import TaskState

ASCII, DOT, MERMAID, JSON, SVG, PNG = "ascii", "dot", "mermaid", "json", "svg", "png"
#: Those that are made of text alone, and those that Graphviz makes.
TEXTS, PICTURES = (ASCII, DOT, MERMAID, JSON), (SVG, PNG)
#: Seconds that Graphviz may take.
PATIENCE = 120
#: Colours of states, for Graphviz and Mermaid.
COLOURS = {
    TaskState.SUCCESS: "#b7e4c7", TaskState.FAILED: "#ffb3b3", TaskState.LOST: "#ffb3b3", TaskState.RUNNING: "#b3d9ff", TaskState.QUEUED: "#e6e6e6",
    TaskState.UP_FOR_RETRY: "#ffe8a3", TaskState.UPSTREAM_FAILED: "#ffd6b3", TaskState.SKIPPED: "#f5d0fe", TaskState.CANCELLED: "#d9d9d9",
}


def made(drawing: Drawing, style: str) -> bytes:
    """Return the graph as a file of this style, one of TEXTS and PICTURES. Raises RqflowError when Graphviz is needed and is not there, or fails."""
    return _picture(text(drawing, DOT), style) if style in PICTURES else text(drawing, style).encode()


def text(drawing: Drawing, style: str) -> str:
    """Return the graph in one of TEXTS."""
    makers: Mapping[str, Callable[[Drawing], str]] = {ASCII: _ascii, DOT: _dot, MERMAID: _mermaid, JSON: _json}
    return makers[style](drawing)


def _picture(dot: str, style: str) -> bytes:
    """Let Graphviz draw."""
    program = shutil.which("dot")
    if program is None:
        raise RqflowError(f"{style} is drawn by Graphviz, and there is no program dot here",
                          hint="Install it (apt install graphviz), or take --format dot or mermaid, which need nothing.")
    try:
        done = subprocess.run([program, f"-T{style}"], input=dot.encode(), capture_output=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        raise RqflowError(f"Graphviz has not drawn it in {PATIENCE} seconds", hint="--collapse all makes it smaller.") from error
    if done.returncode != 0:
        raise RqflowError(f"Graphviz has failed: {done.stderr.decode(errors='replace').strip() or f'exit code {done.returncode}'}")
    return done.stdout


def _ascii(drawing: Drawing) -> str:
    """Return one line a node, in topological order: what it is, and what it waits for."""
    width = max((len(node.label) for node in drawing.nodes), default=0)
    lines = []
    depths: list[int] = []
    for number, (node, above) in enumerate(zip(drawing.nodes, drawing.upstream(), strict=True)):
        # Groups may follow one another both ways.
        depths.append(max((depths[up] + 1 for up in above if up < number), default=0))
        upstream = ", ".join(drawing.nodes[up].name for up in above)
        state = f"[{node.told}] " if node.told else ""
        lines.append(f"{'  ' * depths[number]}{node.label:<{width}}  {state}{f'<- {upstream}' if upstream else ''}".rstrip())
    return "\n".join(lines) + "\n"


def _dot(drawing: Drawing) -> str:
    frames = [DotFrame(name=frame, label=frame) for frame in sorted({node.frame for node in drawing.nodes}) if frame]
    edges = [DotEdge(above=drawing.nodes[above].name, below=drawing.nodes[below].name, attributes={"label": quoted(label)} if label else {})
             for (above, below), label in drawing.edges.items()]
    return digraph(drawing.dag_id, head=["rankdir=LR;", 'node [shape=box, style="rounded,filled", fillcolor=white];'], frames=frames,
                   nodes=[DotNode(name=node.name, attributes=_dot_attributes(node), frame=node.frame) for node in drawing.nodes], edges=edges)


def _dot_attributes(node: Node) -> dict[str, str]:
    about = {"label": quoted(_lines(node)), "shape": "folder", "style": "filled"} if node.is_group else {}
    if node.state:
        about |= {"fillcolor": quoted(COLOURS.get(node.state, "white")), "tooltip": quoted(node.told)}
    return about


def _lines(node: Node) -> str:
    return f"{node.label}\n{node.told}" if node.is_group and node.told else node.label


def _mermaid(drawing: Drawing) -> str:
    lines = ["flowchart LR"]
    lines += [f"  t{number}[{_entity(_lines(node))}]" for number, node in enumerate(drawing.nodes)]
    lines += [f"  t{above} -->{f'|{_entity(label)}|' if label else ''} t{below}" for (above, below), label in drawing.edges.items()]
    lines += [f"  style t{number} fill:{COLOURS[node.state]}" for number, node in enumerate(drawing.nodes) if node.state in COLOURS]
    return "\n".join(lines) + "\n"


def _json(drawing: Drawing) -> str:
    return json.dumps(drawing.plain(), indent=2, ensure_ascii=False) + "\n"


def _entity(label: str) -> str:
    """Return a text in quotes, as Mermaid takes it: it knows no backslash, but entities with #."""
    escaped = label.replace("#", "#35;").replace('"', "#quot;").replace("\n", "<br/>")
    return f'"{escaped}"'
