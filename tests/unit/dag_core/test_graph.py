from __future__ import annotations

from graphlib import CycleError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqflow.dag.graph import branch_skips, descendants, find_cycle, short_circuit_skips, topological_order
from rqflow.dag.version import Version
from rqflow.exceptions import TaskFailed
from tests.unit.builders import a_task, a_version


def skipped(version: Version, chosen: list[str], branch: str = "branch") -> list[str]:
    return [version.tasks[index].task_id for index in branch_skips(version, version.by_id[branch].index, chosen)]


@st.composite
def dags(draw: st.DrawFn) -> dict[str, list[str]]:
    names = [f"t{number}" for number in range(draw(st.integers(1, 10)))]
    edges = {name: sorted(draw(st.sets(st.sampled_from(names[:place])))) if place else [] for place, name in enumerate(names)}
    return {name: edges[name] for name in draw(st.permutations(names))}


@given(dags())
def test_order_has_each_task_once_and_after_its_upstream(upstream: dict[str, list[str]]) -> None:
    order = topological_order(upstream)
    assert sorted(order) == sorted(upstream)
    assert all(order.index(up) < order.index(name) for name in upstream for up in upstream[name])
    assert find_cycle(upstream) == []


def test_order_keeps_the_authors_order_where_it_may() -> None:
    assert topological_order({"z": [], "b": ["z"], "a": ["z"], "y": []}) == ["z", "y", "b", "a"]


def test_cycle_is_shown_in_the_direction_of_its_edges() -> None:
    assert find_cycle({"x": [], "a": ["c", "x"], "b": ["a"], "c": ["b"]}) == ["a", "b", "c", "a"]
    assert find_cycle({"a": ["a"]}) == ["a", "a"]
    with pytest.raises(CycleError):
        topological_order({"a": ["b"], "b": ["a"]})


def test_descendants() -> None:
    version = a_version({"a": [], "b": ["a"], "c": ["b"], "d": []})
    at = {task.task_id: task.index for task in version.tasks}
    assert descendants(version, [at["a"]]) == {at["b"], at["c"]}
    assert descendants(version, [at["d"]]) == set()


def test_branch_skips_what_was_not_chosen() -> None:
    version = a_version({"branch": [], "a": ["branch"], "b": ["branch"], "after_b": ["b"]})
    assert skipped(version, ["a"]) == ["b"]
    assert skipped(version, ["a", "b"]) == []
    assert skipped(version, []) == ["a", "b"]


def test_branch_keeps_what_can_be_reached_from_a_chosen_task() -> None:
    version = a_version({"branch": [], "a": ["branch"], "join": ["branch", "a"]})
    assert skipped(version, ["a"]) == []
    assert skipped(version, ["join"]) == ["a"]


def test_branch_may_choose_a_group() -> None:
    specs = [a_task("g.a", group_id="g"), a_task("g.in.b", group_id="g.in")]
    version = a_version(
        {"branch": [], "g.a": ["branch"], "g.in.b": ["g.a"], "other": ["branch"]}, specs=specs,
        groups={"g": {"parent": ""}, "g.in": {"parent": "g"}},
    )  # fmt: skip
    assert skipped(version, ["g"]) == ["other"]


@pytest.mark.parametrize(("chosen", "said"), [("nowher", "no task of this DAG"), ("after", "not directly downstream"), ("branch", "not directly")])
def test_branch_refuses_ids_that_are_not_directly_downstream(chosen: str, said: str) -> None:
    version = a_version({"branch": [], "nowhere": ["branch"], "after": ["nowhere"]})
    with pytest.raises(TaskFailed, match=said) as caught:
        skipped(version, [chosen])
    assert repr(chosen) in str(caught.value)


@given(dags(), st.data())
def test_branch_skips_only_direct_downstream_and_never_a_chosen_one(upstream: dict[str, list[str]], data: st.DataObject) -> None:
    version = a_version(upstream)
    branch = data.draw(st.sampled_from(version.tasks))
    direct = [version.tasks[index].task_id for index in branch.downstream]
    chosen = data.draw(st.lists(st.sampled_from(direct), unique=True)) if direct else []
    found = skipped(version, chosen, branch.task_id)
    kept = set(direct) - set(found)
    reachable = {version.tasks[i].task_id for i in descendants(version, [version.by_id[name].index for name in chosen])}
    assert set(found) <= set(direct) - set(chosen)
    assert kept - set(chosen) == reachable & set(direct) - set(chosen)


def test_short_circuit_skips_everything_or_the_direct_downstream() -> None:
    version = a_version({"no": [], "a": ["no"], "b": ["a"], "other": []})
    at = {task.task_id: task.index for task in version.tasks}
    assert short_circuit_skips(version, at["no"], True) == tuple(sorted([at["a"], at["b"]]))
    assert short_circuit_skips(version, at["no"], False) == (at["a"],)
