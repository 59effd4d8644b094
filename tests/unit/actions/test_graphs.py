from __future__ import annotations

from rqflow.actions import graphs
from rqflow.states import TaskState
from tests.unit.builders import a_task, a_version

VERSION = a_version({"a": [], "g.b": ["a"], "c": ["a", "g.b"]}, specs=[a_task("g.b", group_id="g")], edge_labels={"a": {"g.b": 'say "go"'}})
STATES = {"a": TaskState.SUCCESS, "g.b": TaskState.FAILED, "c": TaskState.PENDING}


def test_a_graph_for_the_terminal() -> None:
    assert graphs.text(VERSION, graphs.ASCII) == "a\n  g.b  <- a\n    c    <- a, g.b\n"
    assert graphs.text(VERSION, graphs.ASCII, STATES).splitlines()[1] == "  g.b  [failed] <- a"


def test_a_graph_for_graphviz() -> None:
    text = graphs.text(VERSION, graphs.DOT, STATES)
    assert text.startswith('digraph "d" {\n')
    for part in ('label="g";', '"a" -> "g.b" [label="say \\"go\\""];', '"a" -> "c";', '"g.b" [fillcolor="#ffb3b3"];', '"c" [fillcolor="white"];'):
        assert part in text
    assert text.count("{") == text.count("}")


def test_a_graph_for_mermaid() -> None:
    text = graphs.text(VERSION, graphs.MERMAID, STATES)
    assert text.startswith("flowchart LR\n")
    assert 't0["a"]' in text
    assert "t1 --> t2" in text
    assert "style t1 fill:#ffb3b3" in text
