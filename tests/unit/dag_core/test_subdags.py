"""SubDags as groups of the DAG around them: ids, edges, what is theirs, and how their tasks see themselves."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from rqflow import DAG, BashOperator, EmptyOperator, Label, SubDagOperator, TaskGroup
from rqflow.dag import context
from rqflow.dag.model import collecting
from rqflow.dag.serialization import version_of
from rqflow.dag.subdags import expand
from rqflow.dag.template import Renderer
from rqflow.dag.version import Version
from rqflow.dag.xcom_view import XComs
from tests.unit.builders import a_run


def made(dag: DAG) -> Version:
    """The version of a DAG as loading makes it."""
    expand(dag)
    return version_of(dag, file="d.py", generation="1", sources={})


def edges(version: Version) -> set[str]:
    return {f"{task.task_id}>{version.tasks[index].task_id}" for task in version.tasks for index in task.downstream}


def a_subdag(dag_id: str = "d.child", **arguments: Any) -> DAG:
    with DAG(dag_id, **arguments) as inner:
        first, second = EmptyOperator(task_id="first"), EmptyOperator(task_id="second")
        first >> [second, EmptyOperator(task_id="third")]
    return inner


def test_tasks_become_a_group_between_the_neighbours() -> None:
    with DAG("d") as dag:
        start, end = EmptyOperator(task_id="start"), EmptyOperator(task_id="end")
        start >> SubDagOperator(task_id="child", subdag=a_subdag(description="inside")) >> end
    version = made(dag)
    assert edges(version) == {
        "start>child.first", "child.first>child.second", "child.first>child.third", "child.second>end", "child.third>end"}
    assert version.groups == {"child": {"tooltip": "inside", "parent": "", "subdag": "d.child"}}
    assert {task.group_id for task in version.tasks if task.task_id.startswith("child.")} == {"child"}
    assert "child" not in version.by_id


def test_done_again_it_changes_nothing() -> None:
    with DAG("d") as dag:
        SubDagOperator(task_id="child", subdag=a_subdag())
    assert made(dag).json == made(dag).json


def test_subdags_follow_one_another_and_stand_in_groups_and_in_subdags() -> None:
    inner = a_subdag("d.g.one")
    deep = a_subdag("d.g.one.deep")
    inner.get_task("third") >> SubDagOperator(task_id="deep", subdag=deep, dag=inner)
    with DAG("d") as dag:
        with TaskGroup("g"):
            one = SubDagOperator(task_id="one", subdag=inner)
            two = SubDagOperator(task_id="two", subdag=a_subdag("d.g.two"))
        one >> Label("then") >> two
    version = made(dag)
    assert {edge for edge in edges(version) if edge.endswith("g.two.first")} == {
        "g.one.second>g.two.first", "g.one.deep.second>g.two.first", "g.one.deep.third>g.two.first"}
    assert "g.one.third>g.one.deep.first" in edges(version)
    assert {name: (about["parent"], about.get("subdag")) for name, about in version.groups.items()} == {
        "g": ("", None), "g.one": ("g", "d.g.one"), "g.one.deep": ("g.one", "d.g.one.deep"), "g.two": ("g", "d.g.two")}
    assert version.edge_labels["g.one.second"] == {"g.two.first": "then"}


def test_an_empty_subdag_is_passed() -> None:
    with collecting() as found, DAG("d") as dag:
        EmptyOperator(task_id="a") >> SubDagOperator(task_id="child", subdag=DAG("d.child")) >> EmptyOperator(task_id="b")
        assert edges(made(dag)) == {"a>b"}
    assert "the SubDag d.child has no tasks" in found.notes.warnings[0].message


def test_what_the_subdag_says_is_for_its_tasks() -> None:
    own = {"retries": 3, "pool": "narrow", "queue": "gpu"}
    inner = a_subdag(default_args=own, params={"who": "inner", "both": 1}, start_date=datetime(2024, 5, 1), user_defined_macros={"twice": len})
    with DAG("d", default_args={"retries": 1}, params={"both": 2}, start_date=datetime(2024, 1, 1)) as dag:
        SubDagOperator(task_id="child", subdag=inner, trigger_rule="all_done", retries=9) << EmptyOperator(task_id="before")
    task = made(dag).by_id["child.first"]
    assert (task.retries, task.pool, task.queue, task.params) == (3, "narrow", "gpu", {"who": "inner", "both": 1})
    assert task.start_date == datetime(2024, 5, 1, tzinfo=UTC).isoformat()
    assert (task.trigger_rule, made(dag).by_id["child.second"].trigger_rule) == ("all_done", "all_success")
    assert dag.user_defined_macros == {"twice": len}


SEEN = "{{ dag.dag_id }} {{ ti.dag_id }} {{ ti.task_id }} {{ task.task_id }} {{ task_instance_key_str }}"


@pytest.mark.parametrize(
    ("task_id", "template", "expected"),
    [
        ("child.inside", SEEN, "d.child d.child inside inside d.child__inside__20240101"),
        ("outside", SEEN, "d d outside outside d__outside__20240101"),
        ("child.inside", "{{ ti.xcom_pull(task_ids='outside') }}", "of child.outside"),
        ("child.inside", "{{ ti.xcom_pull(task_ids='child.outside') }}", "of child.outside"),
        ("child.inside", "{{ ti.xcom_pull(task_ids='outside', dag_id='d') }}", "of outside"),
        ("outside", "{{ ti.xcom_pull(task_ids=['inside'], dag_id='d.child') }}", "['of child.inside']"),
        ("outside", "{{ ti.xcom_pull(task_ids='child.inside') }}", "of child.inside"),
    ],
)
def test_tasks_see_themselves_as_in_airflow(task_id: str, template: str, expected: str) -> None:
    with DAG("d.child") as inner:
        BashOperator(task_id="inside", bash_command=template)
        EmptyOperator(task_id="outside")
    with DAG("d") as dag:
        SubDagOperator(task_id="child", subdag=inner)
        BashOperator(task_id="outside", bash_command=template)
    version = made(dag)
    values: Mapping[str, Mapping[str, str]] = {name: {"return_value": f'"of {name}"'} for name in version.by_id}
    known = context.build(version, version.by_id[task_id], a_run(version, logical_date=datetime(2024, 1, 1, tzinfo=UTC)), xcoms=XComs.of(values))
    assert Renderer(version).fields(version.by_id[task_id], known)["bash_command"] == expected


@pytest.mark.parametrize(
    ("subdag", "said"),
    [
        (DAG("d.other"), "task child: the dag_id of its subdag must be 'd.child', not 'd.other'"),
        ("d.child", "task child: subdag must be a DAG, not 'd.child'"),
    ],
)
def test_what_is_no_subdag_of_it(subdag: Any, said: str) -> None:
    with collecting() as found, DAG("d"):
        SubDagOperator(task_id="child", subdag=subdag)
    assert [problem.message for problem in found.notes.problems] == [said]


def test_ids_that_are_taken_are_told() -> None:
    with collecting() as found, DAG("d") as dag:
        EmptyOperator(task_id="child.first")
        SubDagOperator(task_id="child", subdag=a_subdag())
        expand(dag)
    assert "task_id 'child.first' is already used" in found.notes.problems[0].message
