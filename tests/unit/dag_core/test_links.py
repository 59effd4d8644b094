from __future__ import annotations

from typing import Any

import pytest

from rqflow import DAG, EmptyOperator, Label, TaskGroup, chain, cross_downstream
from rqflow.dag.model import Collected


@pytest.fixture
def dag() -> DAG:
    with DAG("d") as dag:
        for name in "abcdef":
            EmptyOperator(task_id=name)
    return dag


def t(dag: DAG, names: str) -> Any:
    """Task "a", or the list of the tasks of "abc"."""
    tasks = [dag.get_task(name) for name in names]
    return tasks[0] if len(tasks) == 1 else tasks


def edges(dag: DAG) -> set[str]:
    return {task.task_id + other for task in dag.tasks for other in task.downstream_ids}


def both_ways(dag: DAG) -> bool:
    return edges(dag) == {other + task.task_id for task in dag.tasks for other in task.upstream_ids}


def test_arrows_in_every_direction(dag: DAG) -> None:
    t(dag, "a") >> t(dag, "bc") >> t(dag, "d")
    t(dag, "f") << t(dag, "de") << t(dag, "a")
    assert edges(dag) == {"ab", "ac", "bd", "cd", "df", "ef", "ad", "ae"}
    assert both_ways(dag)


def test_methods_and_ids(dag: DAG) -> None:
    t(dag, "a").set_downstream(t(dag, "bc"))
    t(dag, "d").set_upstream([t(dag, "b")])
    dag.set_dependency("c", "d")
    assert edges(dag) == {"ab", "ac", "bd", "cd"}
    assert t(dag, "a").downstream_task_ids == {"b", "c"}
    assert t(dag, "d").upstream_task_ids == {"b", "c"}
    assert [task.task_id for task in dag.roots] == ["a", "e", "f"]
    assert [task.task_id for task in dag.leaves] == ["d", "e", "f"]


def test_an_edge_drawn_twice_is_one(dag: DAG) -> None:
    t(dag, "a") >> t(dag, "b")
    t(dag, "b") << t(dag, "a")
    assert edges(dag) == {"ab"}


def test_chain_links_lists_item_by_item(dag: DAG) -> None:
    chain(t(dag, "a"), t(dag, "bc"), t(dag, "de"), t(dag, "f"))
    assert edges(dag) == {"ab", "ac", "bd", "ce", "df", "ef"}


def test_chain_refuses_lists_of_different_length(loading: Collected, dag: DAG) -> None:
    chain(t(dag, "abc"), t(dag, "de"))
    assert [problem.message for problem in loading.notes.problems] == ["chain: two lists in a row must be equally long, not 3 and 2"]


def test_cross_downstream_links_all_to_all(dag: DAG) -> None:
    cross_downstream(t(dag, "ab"), t(dag, "cd"))
    assert edges(dag) == {"ac", "ad", "bc", "bd"}


def test_labels_are_kept_with_their_edges(dag: DAG) -> None:
    t(dag, "a") >> Label("yes") >> t(dag, "bc")
    t(dag, "d") << Label("no") << t(dag, "a")
    t(dag, "ef") >> Label("both") >> t(dag, "d")
    chain(t(dag, "b"), Label("then"), t(dag, "f"))
    assert dag.edge_labels == {
        ("a", "b"): "yes", ("a", "c"): "yes", ("a", "d"): "no", ("e", "d"): "both", ("f", "d"): "both", ("b", "f"): "then",
    }  # fmt: skip
    assert edges(dag) == {"ab", "ac", "ad", "ed", "fd", "bf"}


def test_a_label_alone_has_no_tasks() -> None:
    assert list(Label("x").heads()) == list(Label("x").tails()) == []


def test_labels_between_groups() -> None:
    with DAG("d") as dag:
        with TaskGroup("g", prefix_group_id=False) as g:
            EmptyOperator(task_id="a")
        b = EmptyOperator(task_id="b")
        g >> Label("x") >> b
    assert dag.edge_labels == {("a", "b"): "x"}


@pytest.mark.parametrize("wrong", ["b", None, 5])
def test_only_tasks_can_be_linked(loading: Collected, dag: DAG, wrong: Any) -> None:
    t(dag, "a").set_downstream([t(dag, "b"), wrong])
    (problem,) = loading.notes.problems
    assert problem.message == f"only tasks, groups and lists of them can be linked, not {wrong!r}"
    assert problem.file == __file__
    assert edges(dag) == {"ab"}


def test_tasks_of_two_dags_or_of_none_cannot_be_linked(loading: Collected, dag: DAG) -> None:
    other = EmptyOperator(task_id="x", dag=DAG("other"))
    t(dag, "a") >> other
    EmptyOperator(task_id="y") >> EmptyOperator(task_id="z")
    assert [problem.message for problem in loading.notes.problems] == [
        "tasks a and x cannot be linked: they are in two DAGs", "tasks y and z cannot be linked: they have no DAG yet",
    ]  # fmt: skip
