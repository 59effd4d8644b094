from __future__ import annotations

import pytest

from rqflow import DAG, EmptyOperator, TaskGroup
from rqflow.dag.model import Collected


def edges(dag: DAG) -> set[tuple[str, str]]:
    return {(task.task_id, other) for task in dag.tasks for other in task.downstream_ids}


def test_ids_begin_with_the_groups_unless_told_otherwise() -> None:
    with DAG("d") as dag, TaskGroup("outer") as outer:
        EmptyOperator(task_id="a")
        with TaskGroup("inner"):
            EmptyOperator(task_id="b")
        with TaskGroup("bare", prefix_group_id=False):
            EmptyOperator(task_id="c")
    assert dag.task_ids == ["outer.a", "outer.inner.b", "c"]
    assert list(dag.task_groups) == ["outer", "outer.inner", "outer.bare"]
    assert [task.task_id for task in outer] == dag.task_ids
    assert outer.get_child_by_label("a") is dag.get_task("outer.a")
    assert dag.get_task("outer.inner.b").label == "b"


def test_groups_are_linked_by_their_first_and_last_tasks() -> None:
    with DAG("d") as dag:
        start, end = EmptyOperator(task_id="start"), EmptyOperator(task_id="end")
        with TaskGroup("g") as g:
            a, b, c = (EmptyOperator(task_id=name) for name in "abc")
            a >> b
        with TaskGroup("h") as h:
            EmptyOperator(task_id="x")
        start >> g >> h >> end
        [start, a] >> h
    assert edges(dag) == {
        ("g.a", "g.b"), ("start", "g.a"), ("start", "g.c"), ("g.b", "h.x"), ("g.c", "h.x"), ("h.x", "end"), ("start", "h.x"), ("g.a", "h.x"),
    }  # fmt: skip
    assert c.task_group is g


def test_default_args_of_groups_lie_between_the_dags_and_the_tasks() -> None:
    dag = DAG("d", default_args={"retries": 1, "owner": "dag", "pool": "p"})
    with dag, TaskGroup("g", default_args={"retries": 2, "owner": "group"}), TaskGroup("in", default_args={"owner": "in"}):
        task = EmptyOperator(task_id="a", retries=3)
    assert [task.argument(name) for name in ("retries", "owner", "pool")] == [3, "in", "p"]


def test_group_and_task_given_by_argument() -> None:
    dag = DAG("d")
    group = TaskGroup("g", dag=dag)
    inner = TaskGroup("i", parent_group=group)
    task = EmptyOperator(task_id="a", task_group=inner)
    assert (task.task_id, task.dag) == ("g.i.a", dag)


def test_suffix_on_collision() -> None:
    with DAG("d") as dag:
        for _ in range(3):
            TaskGroup("g", add_suffix_on_collision=True)
    assert list(dag.task_groups) == ["g", "g__1", "g__2"]


@pytest.mark.parametrize("first", ["task", "group"])
def test_id_of_a_group_that_is_taken_is_reported(loading: Collected, first: str) -> None:
    with DAG("d"):
        _ = EmptyOperator(task_id="g") if first == "task" else TaskGroup("g")
        TaskGroup("g")
    assert [problem.message for problem in loading.notes.problems] == [
        "DAG d has 'g' twice: the id of a group must not be that of a group or task"
    ]


def test_bad_id_of_a_group_is_reported(loading: Collected) -> None:
    with DAG("d"):
        TaskGroup("a b")
    assert [problem.message for problem in loading.notes.problems] == [
        "group_id 'a b' has a blank in it; only letters, digits, dash, dot and underscore are allowed"
    ]


def test_task_id_that_is_a_groups_is_reported(loading: Collected) -> None:
    with DAG("d"):
        TaskGroup("g")
        EmptyOperator(task_id="g")
    assert [problem.message for problem in loading.notes.problems] == ["DAG d: task_id 'g' is already used by a task group"]


def test_group_outside_of_a_dag_and_odd_arguments(loading: Collected) -> None:
    TaskGroup("g", colour="red", ui_color="red")
    assert [problem.message for problem in loading.notes.problems] == ["task group 'g' is outside of any DAG"]
    assert [warning.message for warning in loading.notes.warnings] == ["TaskGroup takes no argument colour; it is ignored"]
