from __future__ import annotations

import re
import shutil
import subprocess
import time

import pytest

from rqflow.actions.sights.graph_view import FAN, GROUP, TASK, GraphView, graph, told
from rqflow.dag.version import Version
from rqflow.exceptions import TaskNotFound
from rqflow.states import TaskState
from tests.unit.builders import a_task, a_version


def shown(view: GraphView) -> dict[str, int]:
    return {node.name: len(node.task_ids) for node in view.nodes}


def links(view: GraphView) -> set[tuple[str, str]]:
    names = {node.id: node.name for node in view.nodes}
    return {(names[above], names[below]) for above, below in view.edges}


def samples(count: int, steps: str = "xyz") -> Version:
    """A chain of steps for each sample, between a first and a last task."""
    tasks: dict[str, list[str]] = {"first": []}
    for number in range(count):
        for before, step in zip(("", *steps), steps, strict=False):
            tasks[f"{step}_{number:03d}.sam"] = [f"{before}_{number:03d}.sam" if before else "first"]
    return a_version({**tasks, "last": [f"{steps[-1]}_{number:03d}.sam" for number in range(count)]}, dag_id="bio")


def grouped() -> Version:
    specs = [a_task(name, group_id=name.rpartition(".")[0]) for name in ("g.a", "g.h.b", "g.h.c")]
    return a_version({"start": [], "g.a": ["start"], "g.h.b": ["g.a"], "g.h.c": ["g.h.b"], "end": ["g.h.c"]}, specs=specs, dag_id="grouped",
                     groups={"g": {"parent": None}, "g.h": {"parent": "g"}}, edge_labels={"start": {"g.a": "if it is there"}})


def test_each_step_of_many_samples_is_one_node() -> None:
    view = graph(samples(96))
    assert shown(view) == {"first": 1, "*x_000.sam": 96, "*y_000.sam": 96, "*z_000.sam": 96, "last": 1}
    assert links(view) == {("first", "*x_000.sam"), ("*x_000.sam", "*y_000.sam"), ("*y_000.sam", "*z_000.sam"), ("*z_000.sam", "last")}
    assert [node.label for node in view.nodes if node.kind == FAN] == ["x_0*.sam × 96", "y_0*.sam × 96", "z_0*.sam × 96"]


def test_a_fan_that_is_opened_shows_its_tasks_and_the_others_stay_closed() -> None:
    view = graph(samples(10), opened=["*y_000.sam", "nothing"])
    assert (len(view.nodes), view.opened) == (14, ("*y_000.sam",))
    assert ("*x_000.sam", "y_007.sam") in links(view)


def test_few_tasks_are_no_fan_and_neither_are_those_that_stand_differently() -> None:
    assert {node.kind for node in graph(samples(8)).nodes} == {TASK}
    tasks = {"first": [], **{f"t{number}": ["first"] for number in range(12)}, **{f"after{number}": [f"t{number}"] for number in range(3)}}
    assert shown(graph(a_version(tasks))) == {"first": 1, "t0": 1, "t1": 1, "t2": 1, "*t3": 9, "after0": 1, "after1": 1, "after2": 1}


def test_groups_are_closed_until_they_are_opened_one_by_one() -> None:
    closed, outer, both = (graph(grouped(), opened=opened) for opened in ((), ("g",), ("g", "g.h")))
    assert (shown(closed), links(closed)) == ({"start": 1, "g": 3, "end": 1}, {("start", "g"), ("g", "end")})
    assert [(node.name, node.kind, node.label, node.group_id) for node in outer.nodes if node.group_id] == [
        ("g.a", TASK, "a", "g"), ("g.h", GROUP, "h × 2", "g")]
    assert [frame.group_id for frame in both.frames] == ["g", "g.h"]
    assert len(both.nodes) == 5
    assert "if it is there" in closed.dot


def test_ids_of_nodes_are_the_same_whatever_is_open_and_whatever_else_there_is() -> None:
    ids = [{node.name: node.id for node in view.nodes} for view in (graph(samples(20)), graph(samples(30), opened=["*x_000.sam"]))]
    common = ids[0].keys() & ids[1].keys()
    assert {"first", "last", "*y_000.sam"} <= common
    assert {name: ids[0][name] for name in common} == {name: ids[1][name] for name in common}


def test_a_focus_shows_what_is_near_and_opens_what_is_around_it() -> None:
    view = graph(grouped(), focus="g.h.b", hops=1)
    assert shown(view) == {"g.a": 1, "g.h.b": 1, "g.h.c": 1}
    assert shown(graph(grouped(), focus="g.h.b", hops=9)).keys() == {"start", "g.a", "g.h.b", "g.h.c", "end"}
    near = graph(samples(20), focus="y_005.sam", hops=1)
    assert "y_005.sam" in shown(near)
    with pytest.raises(TaskNotFound):
        graph(grouped(), focus="none")


def test_states_are_laid_over_by_node() -> None:
    view = graph(samples(10))
    states = {f"x_{number:03d}.sam": TaskState.FAILED if number == 3 else TaskState.SUCCESS for number in range(10)} | {"first": TaskState.RUNNING}
    names = {node.id: node.name for node in view.nodes}
    assert {names[one.id]: (one.state, dict(one.counts)) for one in told(view, states)} == {
        "first": (TaskState.RUNNING, {"running": 1}), "*x_000.sam": (TaskState.FAILED, {"success": 9, "failed": 1})}


def test_every_task_is_in_one_node_and_every_dot_id_once() -> None:
    for view in (graph(samples(30)), graph(grouped(), opened=["g"]), graph(samples(400), opened=["*x_000.sam"])):
        ids = [task_id for node in view.nodes for task_id in node.task_ids]
        assert len(ids) == len(set(ids))
        assert len(set(re.findall(r' id="([tgf][0-9a-f]{12})"', view.dot.replace("[id", "[ id")))) >= len(view.nodes)
    assert not graph(samples(400), opened=["*x_000.sam"]).is_readable


def test_a_thousand_tasks_are_drawn_up_fast() -> None:
    version = samples(333)
    began = time.perf_counter()
    assert len(graph(version).nodes) == 5
    assert time.perf_counter() - began < 1.0


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_draws_it_with_our_ids_and_classes() -> None:
    hard = a_version({'a"b\\': [], "<é>": ['a"b\\']}, dag_id='q"')
    for view in (graph(grouped(), opened=["g"]), graph(samples(10)), graph(hard)):
        svg = subprocess.run(["dot", "-Tsvg"], input=view.dot.encode(), capture_output=True, check=True).stdout.decode()
        for node in view.nodes:
            assert re.search(rf'<g id="{node.id}" class="node {node.kind}">', svg)
