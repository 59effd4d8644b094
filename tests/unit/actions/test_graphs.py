from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from rqflow.actions import drawing, graphs
from rqflow.actions.drawing import draw
from rqflow.exceptions import RqflowError
from rqflow.states import TaskState
from tests.unit.builders import a_task, a_version

VERSION = a_version({"a": [], "g.b": ["a"], "c": ["a", "g.b"]}, specs=[a_task("g.b", group_id="g")], edge_labels={"a": {"g.b": 'say "go"'}})
STATES = {"a": TaskState.SUCCESS, "g.b": TaskState.FAILED, "c": TaskState.PENDING}
#: A group within a group, and edges that lead into the outer one, out of it, and in again.
NESTED = a_version({"a": [], "o.x": ["a"], "o.i.y": ["o.x"], "b": ["o.i.y"], "o.z": ["b", "a"]}, groups={"o": {"parent": ""}, "o.i": {"parent": "o"}},
                   specs=[a_task("o.x", group_id="o"), a_task("o.i.y", group_id="o.i"), a_task("o.z", group_id="o")])


def test_a_graph_for_the_terminal() -> None:
    assert graphs.text(draw(VERSION), graphs.ASCII) == "a\n  g.b  <- a\n    c    <- a, g.b\n"
    assert graphs.text(draw(VERSION, STATES), graphs.ASCII).splitlines()[1] == "  g.b  [failed] <- a"


def test_a_graph_for_graphviz() -> None:
    text = graphs.text(draw(VERSION, STATES), graphs.DOT)
    assert text.startswith('digraph "d" {\n')
    for part in ('label="g";', '"a" -> "g.b" [label="say \\"go\\""];', '"a" -> "c";', '"g.b" [fillcolor="#ffb3b3", tooltip="failed"];',
                 '"c" [fillcolor="white", tooltip="pending"];'):
        assert part in text
    assert text.count("{") == text.count("}")


def test_a_graph_for_mermaid() -> None:
    text = graphs.text(draw(VERSION, STATES), graphs.MERMAID)
    assert text.startswith("flowchart LR\n")
    assert 't0["a"]' in text
    assert 't0 -->|"say #quot;go#quot;"| t1' in text
    assert "t1 --> t2" in text
    assert "style t1 fill:#ffb3b3" in text


def test_a_graph_for_programs() -> None:
    found = json.loads(graphs.text(draw(VERSION, STATES), graphs.JSON))
    assert found["nodes"][1] == {"id": "g.b", "is_group": False, "group": "g", "tasks": 1, "state": "failed", "states": {"failed": 1}}
    assert found["edges"][0] == {"from": "a", "to": "g.b", "label": 'say "go"'}


def test_groups_are_one_node_each_with_all_that_is_below_them() -> None:
    states = {"a": TaskState.SUCCESS, "o.x": TaskState.SUCCESS, "o.i.y": TaskState.FAILED, "b": TaskState.UPSTREAM_FAILED, "o.z": TaskState.SUCCESS}
    found = draw(NESTED, states, drawing.ALL)
    assert [(node.name, node.tasks, node.state) for node in found.nodes] == [
        ("a", 1, TaskState.SUCCESS), ("o", 3, TaskState.FAILED), ("b", 1, TaskState.UPSTREAM_FAILED)]
    assert sorted(found.edges) == [(0, 1), (1, 2), (2, 1)]
    assert graphs.text(found, graphs.ASCII).splitlines()[1] == "  o (3 tasks)  [2 success, 1 failed] <- a, b"
    for style in (graphs.DOT, graphs.MERMAID, graphs.JSON):
        assert "o.x" not in graphs.text(found, style)


@pytest.mark.parametrize(("tasks", "nodes"), [(drawing.MANY, drawing.MANY), (drawing.MANY + 1, 1)])
def test_groups_of_large_graphs_are_one_node_by_default(tasks: int, nodes: int) -> None:
    names = [f"g.t{number}" for number in range(tasks)]
    version = a_version({name: [] for name in names}, specs=[a_task(name, group_id="g") for name in names])
    assert len(draw(version).nodes) == nodes
    assert len(draw(version, collapse=drawing.NONE).nodes) == tasks


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz, which scripts/services installs")
def test_graphviz_draws_pictures() -> None:
    drawn = draw(NESTED, {"a": TaskState.SUCCESS}, drawing.ALL)
    assert b"<svg" in graphs.made(drawn, graphs.SVG)
    assert b"o (3 tasks)" in graphs.made(drawn, graphs.SVG)
    assert graphs.made(drawn, graphs.PNG).startswith(b"\x89PNG")


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz, which scripts/services installs")
def test_no_label_breaks_out_of_its_quotes() -> None:
    version = a_version({"a": [], "b": ["a"]}, edge_labels={"a": {"b": 'x"]; evil [label="\\'}})
    plain = subprocess.run(["dot", "-Tplain"], input=graphs.text(draw(version), graphs.DOT), capture_output=True, text=True, check=True).stdout
    assert [line.split()[1] for line in plain.splitlines() if line.startswith("node")] == ["a", "b"]


def test_without_graphviz_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RqflowError, match="no program dot") as caught:
        graphs.made(draw(VERSION), graphs.SVG)
    assert "--format dot" in caught.value.hint
    (tmp_path / "dot").write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    (tmp_path / "dot").chmod(0o755)
    with pytest.raises(RqflowError, match="Graphviz has failed: broken"):
        graphs.made(draw(VERSION), graphs.SVG)
