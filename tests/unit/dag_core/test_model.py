from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from rqflow import DAG, EmptyOperator, Param, TaskGroup
from rqflow.dag.arguments import ABSENT
from rqflow.dag.model import Collected, authored, collecting
from rqflow.exceptions import TaskNotFound

DAY = datetime(2024, 1, 1, tzinfo=UTC)


def messages(found: Collected) -> list[str]:
    return [problem.message for problem in found.notes.problems]


def test_what_was_not_given_says_so_and_is_false() -> None:
    assert (repr(ABSENT), bool(ABSENT)) == ("<not given>", False)


def test_dag_takes_the_arguments_of_all_generations(loading: Collected) -> None:
    dag = DAG(
        "d", "what it does", timedelta(days=1), DAY, concurrency=4, max_active_runs=1, catchup=False, tags=["x"], dagrun_timeout=timedelta(hours=1),
        template_searchpath="/a", user_defined_macros={"m": 1}, user_defined_filters={"f": str}, default_view="graph", orientation="LR",
        access_control={}, sla_miss_callback=print, on_failure_callback=print, is_paused_upon_creation=True, jinja_environment_kwargs={},
        render_template_as_native_obj=True, doc_md="# x", owner_links={}, fail_stop=True,
    )  # fmt: skip
    assert (dag.dag_id, dag.description, dag.schedule, dag.argument("start_date")) == ("d", "what it does", timedelta(days=1), DAY)
    assert (dag.max_active_tasks, dag.concurrency, dag.argument("tags"), dag.template_searchpath) == (4, 4, ("x",), ("/a",))
    assert loading.notes.problems == loading.notes.warnings == []


@pytest.mark.parametrize(
    ("given", "schedule"),
    [
        ({}, ABSENT),
        ({"schedule": None}, None),
        ({"schedule_interval": None}, None),
        ({"schedule_interval": "@daily"}, "@daily"),
        ({"schedule": "@daily"}, "@daily"),
        ({"timetable": "@daily"}, "@daily"),
        ({"schedule_interval": "@daily", "timetable": None}, "@daily"),
        ({"schedule": None, "timetable": None}, None),
    ],
)
def test_schedule_under_all_of_its_names(given: dict[str, Any], schedule: Any) -> None:
    dag = DAG("d", **given)
    assert dag.schedule is schedule
    assert dag.schedule_interval is schedule


def test_things_settable_afterwards() -> None:
    dag = DAG("d")
    dag.doc_md, dag.catchup, dag.schedule_interval, dag.concurrency = "# x", False, "@hourly", 3
    assert (dag.argument("doc_md"), dag.argument("catchup"), dag.schedule, dag.argument("max_active_tasks")) == ("# x", False, "@hourly", 3)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"schedule": "@daily", "schedule_interval": "@hourly"}, "schedule and schedule_interval are given; give one of them"),
        ({"max_active_runs": 0}, "max_active_runs=0 must be at least 1"),
        ({"concurrency": "many"}, "max_active_tasks='many' must be a whole number"),
        ({"dagrun_timeout": -1}, "must not be negative"),
        ({"default_args": ["retries"]}, "must be a dictionary"),
        ({"start_date": "soon"}, "must be a datetime"),
        ({"default_args": {"start_date": "soon"}}, "must be a datetime"),
        ({"dag_id": "a b"}, "a blank"),
    ],
)
def test_bad_argument_is_reported_with_the_line_of_the_dag(loading: Collected, given: dict[str, Any], said: str) -> None:
    DAG(**{"dag_id": "d", **given})
    (problem,) = loading.notes.problems
    assert said in problem.message
    assert problem.line == test_bad_argument_is_reported_with_the_line_of_the_dag.__code__.co_firstlineno + 14


def test_unknown_argument_is_a_warning(loading: Collected) -> None:
    DAG("d", catchupp=True)
    assert [warning.message for warning in loading.notes.warnings] == ["DAG takes no argument catchupp; it is ignored; did you mean catchup?"]


def test_default_args_give_dates_and_params() -> None:
    defaults = {"start_date": "2024-01-01", "end_date": "2024-02-01", "params": {"a": 1, "b": 1}}
    dag = DAG("d", default_args=defaults, params={"b": Param(2, type="integer")})
    assert dag.argument("start_date") == DAY
    assert dag.argument("end_date") == datetime(2024, 2, 1, tzinfo=UTC)
    assert dag.params == {"a": 1, "b": 2}
    assert dag.param_specs == {"b": {"schema": {"type": "integer"}}}
    assert "params" not in dag.default_args


def test_time_zone_is_that_of_the_start_date() -> None:
    assert DAG("d").timezone == DAG("d", start_date=datetime(2024, 1, 1)).timezone == "UTC"
    assert DAG("d", start_date=datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))).timezone == "Europe/Berlin"


def test_tasks_by_id(loading: Collected) -> None:
    with DAG("d") as dag:
        first, second = EmptyOperator(task_id="first"), EmptyOperator(task_id="second")
        second >> first
    assert dag.get_task("first") is first
    assert dag.tasks == [first, second]
    assert dag.topological_sort() == (second, first)
    assert (dag.task_count, dag.has_task("x"), dag.fileloc, repr(dag)) == (2, False, __file__, "<DAG: d>")
    assert dag.folder + "/test_model.py" == __file__
    with pytest.raises(TaskNotFound, match="did you mean first"):
        dag.get_task("frist")


def test_task_id_used_twice_is_reported_with_both_lines(loading: Collected) -> None:
    with DAG("d"):
        first = EmptyOperator(task_id="a")
        EmptyOperator(task_id="a")
    assert [str(problem) for problem in loading.notes.problems] == [
        f"{__file__}:{first.origin.line + 1}: DAG d: task_id 'a' is already used by the task in line {first.origin.line}"
    ]


def test_tasks_are_added_by_hand() -> None:
    dag, task = DAG("d"), EmptyOperator(task_id="a")
    dag.add_tasks([task, task])
    assert dag.task_ids == ["a"]


def test_calls_under_main_do_nothing() -> None:
    dag = DAG("d")
    assert [dag.cli(), dag.run(), dag.test(run_conf={}), dag.clear(reset_dag_runs=True)] == [None] * 4


def test_dags_with_a_block_and_globals_count_each_once() -> None:
    with collecting() as found:
        with DAG("opened") as opened:
            pass
        with opened:
            pass
        named = DAG("named")
        DAG("forgotten")
    assert authored(found, {"x": opened, "y": named, "z": named, "other": 5}) == [opened, named]


def test_two_dags_of_one_id_are_reported(loading: Collected) -> None:
    with DAG("d") as first:
        pass
    second = DAG("d")
    authored(loading, {"second": second})
    assert messages(loading) == [f"dag_id 'd' is already that of the DAG in line {first.origin.line}"]


def test_a_block_left_open_does_not_reach_the_next_file() -> None:
    with collecting():
        DAG("d").__enter__()
        TaskGroup("g").__enter__()
    assert not EmptyOperator(task_id="a").has_dag()


def test_end_of_a_block_ends_what_was_left_open_in_it() -> None:
    with DAG("outer") as outer:
        with DAG("inner"):
            TaskGroup("g").__enter__()
        EmptyOperator(task_id="a")
    assert outer.task_ids == ["a"]


def test_blocks_nest() -> None:
    with DAG("outer") as outer:
        with DAG("inner") as inner:
            EmptyOperator(task_id="a")
        EmptyOperator(task_id="b")
        EmptyOperator(task_id="c", dag=inner)
    assert (outer.task_ids, inner.task_ids) == (["b"], ["a", "c"])
