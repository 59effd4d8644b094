from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqflow import DAG, BaseOperator, BashOperator, EmptyOperator, Label, Param, PythonOperator, TaskGroup
from rqflow.dag.model import Collected
from rqflow.dag.problems import noting
from rqflow.dag.serialization import version_of
from rqflow.dag.version import TaskSpec, Version
from rqflow.exceptions import DagLoadError
from tests.unit.dag_core.test_plain import JSON_VALUES

START = datetime(2024, 1, 1, tzinfo=UTC)


class Own(BashOperator):
    pass


class Acting(EmptyOperator):
    def execute(self, context: Any) -> None:
        pass


class Resting(EmptyOperator):
    pass


class StandIn(BaseOperator):
    unsupported = "airflow.x.StandIn is not supported yet"


class NowhereTime(tzinfo):
    key = "Nowhere/Land"

    def utcoffset(self, _: object) -> timedelta:
        return timedelta(0)


def serialized(dag: DAG, generation: str = "native", **changes: Any) -> Version:
    return version_of(dag, file="d.py", generation=generation, sources={"d.py": "text"}, **changes)


def one(task_class: type = BashOperator, generation: str = "native", dag: DAG | None = None, **arguments: Any) -> TaskSpec:
    defaults = {"bash_command": "true"} if issubclass(task_class, BashOperator) else {}
    task_class(task_id="a", dag=dag or (dag := DAG("d")), **{**defaults, **arguments})
    return serialized(dag, generation).tasks[0]


def test_a_whole_dag_becomes_a_version() -> None:
    with DAG(
        "d", "what", "@daily", START, "2024-03-01", tags={"b", "a"}, doc_md="# x", catchup=False, max_active_runs=2, concurrency=5,
        template_searchpath=["/t"], dagrun_timeout=timedelta(hours=1), params={"n": Param(1, type="integer"), "m": Param(2)},
        on_failure_callback=print, sla_miss_callback=[print],
        render_template_as_native_obj=True, default_args={"owner": "me", "retry_delay": timedelta(minutes=1)}, max_consecutive_failed_dag_runs=3,
    ) as dag:  # fmt: skip
        first = EmptyOperator(task_id="first")
        with TaskGroup("g", tooltip="tip") as group:
            BashOperator(task_id="b", bash_command="echo {{ ds }}", owner="you")
        first >> Label("go") >> group
    version = serialized(dag)
    plain = {name: getattr(version, name) for name in version.__dataclass_fields__ if name not in {"tasks", "signatures"}}
    assert plain == {
        "dag_id": "d", "file": "d.py", "generation": "native", "sources": {"d.py": "text"}, "description": "what", "doc_md": "# x",
        "owner": "me, you", "tags": ("a", "b"), "schedule": "@daily", "timezone": "UTC", "start_date": "2024-01-01T00:00:00+00:00",
        "end_date": "2024-03-01T00:00:00+00:00", "catchup": False, "max_active_runs": 2, "max_active_tasks": 5, "dagrun_timeout": 3600.0,
        "paused_at_creation": None,
        "params": {"n": 1, "m": 2}, "param_specs": {"n": {"schema": {"type": "integer"}}, "m": {"schema": {}}},
        "undefined": "error", "render_native": True, "template_searchpath": ("/t",), "groups": {"g": {"tooltip": "tip", "parent": ""}},
        "edge_labels": {"first": {"g.b": "go"}}, "default_args": {"owner": "me", "retry_delay": 60.0},
        "max_consecutive_failed_dag_runs": 3, "callbacks": ("run_failure", "sla_miss"),
    }  # fmt: skip
    assert [(task.task_id, task.operator, task.upstream, task.downstream, task.group_id, task.weight) for task in version.tasks] == [
        ("first", "empty", (), (1,), "", 2), ("g.b", "bash", (0,), (), "g", 1),
    ]  # fmt: skip


def test_a_whole_task_becomes_plain_data() -> None:
    spec = one(
        bash_command="echo", env={"A": "{{ ds }}"}, cwd="/tmp", outputs=["o"], setup="conda activate x", umask=0o22, env_file="e", grace=3600,
        retries=2, retry_delay=timedelta(minutes=1), max_retry_delay=600, execution_timeout="1h", sla=60, pool="p", pool_slots=2, doc_md="# doc",
        worker_labels=["gpu"], task_concurrency=3, trigger_rule="all_done", params={"x": 1}, email="a@x, b@x", queue="q", priority_weight=7,
    )  # fmt: skip
    assert spec == TaskSpec(
        index=0, task_id="a", operator="bash", operator_name="BashOperator", template_fields=("bash_command", "env", "cwd"),
        fields={"bash_command": "echo", "env": {"A": "{{ ds }}"}, "cwd": "/tmp", "skip_exit_code": [99]},
        outputs=("o",), setup="conda activate x", umask="022", env_file="e", grace=3600.0, retries=2, retry_delay=60.0, max_retry_delay=600.0,
        execution_timeout=3600.0, sla=60.0, pool="p", pool_slots=2, worker_labels=("gpu",), max_active_per_dag=3, trigger_rule="all_done",
        params={"x": 1}, email=("a@x", "b@x"), queue="q", weight=7, doc="# doc",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "memory", "cpus"),
    [
        ({"memory": "1G", "cpus": 2}, 1 << 30, 2.0),
        ({"resources": {"ram": 512, "cpus": 2}}, 512 << 20, 2.0),
        ({"resources": {"ram": 512}, "memory": "1G"}, 1 << 30, None),
        ({"resources": {"disk": 10}}, None, None),
        ({"executor_config": {"KubernetesExecutor": {"limit_memory": "128Mi", "limit_cpu": "500m", "request_memory": "1Gi"}}}, 128 << 20, 0.5),
        ({"executor_config": {"CeleryExecutor": {"x": 1}}}, None, None),
    ],
)
def test_what_a_task_may_use_is_read_under_names_of_airflow_too(given: dict[str, Any], memory: int | None, cpus: float | None) -> None:
    spec = one(**given)
    assert (spec.memory, spec.cpus) == (memory, cpus)


def test_a_limit_of_airflow_that_is_no_number_is_warned_of() -> None:
    with noting() as notes:
        assert one(resources={"ram": "lots"}).memory is None
    assert [warning.message for warning in notes.warnings] == ["task a: ram of resources is no number, so there is no such limit: 'lots'"]


@pytest.mark.parametrize(
    ("task", "dag", "expected"),
    [
        (None, None, None),
        (None, START, "2024-01-01T00:00:00+00:00"),
        ("2023-02-01", START, "2024-01-01T00:00:00+00:00"),
        ("2024-02-01", START, "2024-02-01T00:00:00+00:00"),
        ("2024-02-01T00:00+02:00", None, "2024-01-31T22:00:00+00:00"),
    ],
)
def test_task_starts_at_the_later_of_its_own_and_its_dags_start(task: str | None, dag: datetime | None, expected: str | None) -> None:
    assert one(dag=DAG("d", start_date=dag), start_date=task).start_date == expected


def test_what_is_not_carried_out_yet_is_said_once_for_a_dag() -> None:
    with noting() as notes:
        dag = DAG("d", fail_fast=True, default_args={"max_active_tis_per_dagrun": None})
        for task_id in "abc":
            BashOperator(task_id=task_id, bash_command="true", dag=dag, wait_for_past_depends_before_skipping=True)
        version_of(dag, file="d.py", generation="2", sources={})
    assert [warning.message for warning in notes.warnings] == [
        "DAG d: wait_for_past_depends_before_skipping of task a and 2 more is not carried out yet: it is skipped without waiting for the run before",
        "DAG d: fail_fast is not carried out yet: the other tasks of a run go on when one has failed"]


def test_a_dag_without_a_start_starts_with_the_first_of_its_tasks() -> None:
    dag = DAG("d", schedule="@daily")
    for task_id, start in (("a", "2024-02-01"), ("b", "2024-01-01"), ("c", None)):
        BashOperator(task_id=task_id, bash_command="true", dag=dag, start_date=start)
    version = version_of(dag, file="d.py", generation="1", sources={})
    assert version.start_date == "2024-01-01T00:00:00+00:00"
    assert {task.task_id: task.start_date for task in version.tasks} == {
        "a": "2024-02-01T00:00:00+00:00", "b": "2024-01-01T00:00:00+00:00", "c": "2024-01-01T00:00:00+00:00"}


@pytest.mark.parametrize(
    ("generation", "given", "pushed"), [("1", None, False), ("1", True, True), ("2", None, True), ("native", None, True), ("2", False, False)]
)
def test_bash_of_airflow_1_pushes_only_when_told(generation: str, given: bool | None, pushed: bool) -> None:
    assert one(generation=generation, do_xcom_push=given).do_xcom_push is pushed
    assert one(EmptyOperator, generation=generation).do_xcom_push is True


def test_queue_of_a_task_that_names_none_is_the_configured_one() -> None:
    with DAG("d") as dag:
        EmptyOperator(task_id="a")
    assert serialized(dag, default_queue="main").tasks[0].queue == "main"


def needs_source(dag: DAG | None = None, **arguments: Any) -> bool:
    return one(arguments.pop("task_class", BashOperator), dag=dag, **arguments).needs_source


def test_plain_bash_is_rendered_by_the_worker() -> None:
    assert not needs_source()
    assert not needs_source(task_class=Resting)


@pytest.mark.parametrize("own", ["user_defined_macros", "user_defined_filters", "jinja_environment_kwargs"])
def test_bash_of_a_dag_with_own_macros_needs_its_source(own: str) -> None:
    assert needs_source(DAG("d", **{own: {"x": 1}}))
    assert not needs_source(DAG("d", **{own: {}}))


def test_own_classes_hooks_and_values_beyond_json_need_the_source() -> None:
    assert needs_source(task_class=Own)
    assert needs_source(post_execute=print)
    assert needs_source(params={"day": START})
    assert needs_source(env={"A": START})


def test_own_class_that_gives_an_empty_task_work_is_a_python_task() -> None:
    spec = one(Acting)
    assert (spec.operator, spec.operator_name, spec.needs_source) == ("python", "Acting", True)
    assert one(Resting).operator == "empty"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"bash_command": "true", "outputs": ["o", "{{ ds }}.bam", "/data/o", "~/o"]}, "task a: the output 'o' would be removed"),
        ({"bash_command": "true", "outputs": ["o"], "cwd": "/data"}, ""),
        ({"bash_command": "true", "outputs": ["o"], "cwd": "{{ params.folder }}"}, ""),
    ],
)
def test_output_in_the_private_folder_of_the_try_is_refused(arguments: dict[str, Any], said: str) -> None:
    with DAG("d") as dag:
        BashOperator(task_id="a", **arguments)
    if not said:
        assert serialized(dag)
        return
    with pytest.raises(DagLoadError, match=f"{said}.*give the task a cwd, or the output its full path") as caught:
        serialized(dag)
    [problem] = caught.value.problems
    assert problem.startswith(f"{__file__}:")


def test_stand_in_says_what_it_stands_for() -> None:
    assert one(StandIn).unsupported == "airflow.x.StandIn is not supported yet"


@pytest.mark.parametrize(("generation", "undefined"), [("1", "empty"), ("2", "error"), ("3", "error"), ("native", "error")])
def test_unknown_names_in_templates_follow_the_generation(generation: str, undefined: str) -> None:
    assert serialized(DAG("d"), generation).undefined == undefined


def test_unknown_names_in_templates_follow_the_dag() -> None:
    jinja2 = pytest.importorskip("jinja2")
    assert serialized(DAG("d", template_undefined=jinja2.Undefined)).undefined == "empty"
    assert serialized(DAG("d", template_undefined=jinja2.StrictUndefined), "1").undefined == "error"


def a_cycle(dag: DAG) -> None:
    a, b, c = (EmptyOperator(task_id=name, dag=dag) for name in "abc")
    a >> b >> c >> a


@pytest.mark.parametrize(
    ("arguments", "spoil", "said"),
    [
        ({}, a_cycle, "DAG d has a cycle: a -> b -> c -> a"),
        ({"schedule": "0 100 * * *"}, None, "'100' as its hour"),
        ({"start_date": "2024-02-01", "end_date": "2024-01-01"}, None, "lies before start_date"),
        ({"start_date": datetime(2024, 1, 1, tzinfo=NowhereTime())}, None, "time zone 'Nowhere/Land'"),
        ({}, lambda dag: setattr(dag, "max_active_runs", 0), "max_active_runs=0 must be at least 1"),
    ],
)
def test_what_is_wrong_is_raised_with_the_line_of_the_dag(arguments: dict[str, Any], spoil: Any, said: str) -> None:
    dag = DAG("d", **arguments)
    if spoil:
        spoil(dag)
    with pytest.raises(DagLoadError) as caught:
        serialized(dag)
    assert len(caught.value.problems) == 1
    assert said in caught.value.problems[0]
    assert caught.value.problems[0].startswith(f"{__file__}:{dag.origin.line}: ")


def test_what_is_odd_is_a_warning(loading: Collected) -> None:
    serialized(DAG("d", schedule=[object()], params={"day": START}))
    assert [warning.message for warning in loading.notes.warnings] == [
        "DAG d has no tasks",
        "DAG d: the schedule object is not supported yet; only manual runs start",
        "DAG d: param day is no JSON value; templates see it as '2024-01-01T00:00:00+00:00'",
    ]


@st.composite
def dags(draw: st.DrawFn) -> DAG:
    with DAG("d", params=draw(st.dictionaries(st.text(st.characters(codec="utf-8")), JSON_VALUES, max_size=3)), tags=["x"]) as dag:
        for number in range(draw(st.integers(0, 6))):
            task: BaseOperator = draw(st.sampled_from([_bash, _python, _empty]))(f"t{number}", draw(JSON_VALUES))
            for other in draw(st.sets(st.sampled_from(dag.task_ids[:number]))) if number else ():
                dag.get_task(other) >> task
    return dag


def _bash(task_id: str, value: Any) -> BaseOperator:
    return BashOperator(task_id=task_id, bash_command="true", env={"X": value}, retries=3, outputs=["/a"])


def _python(task_id: str, value: Any) -> BaseOperator:
    return PythonOperator(task_id=task_id, python_callable=print, op_args=[value], worker_labels=["a"])


def _empty(task_id: str, _: Any) -> BaseOperator:
    return EmptyOperator(task_id=task_id, email="a@x")


@given(dags())
def test_a_version_survives_its_json(dag: DAG) -> None:
    version = serialized(dag)
    again = Version.from_json(version.json)
    assert again == version
    assert again.sha == version.sha == serialized(dag).sha


def test_every_load_of_a_file_gives_the_same_version(tmp_path: Path) -> None:
    file = tmp_path / "d.py"
    file.write_text(
        "from rqflow import *\nfrom rqflow.dag.serialization import version_of\n"
        "with DAG('d', tags={'a', 'b', 'c'}, default_args={'x': object(), 'y': {'p', 'q', 'r'}}) as dag:\n"
        "    a, b, c = [BashOperator(task_id=t, bash_command='true', env={'S': {'u', 'v', 'w'}}) for t in 'abc']\n    a >> [b, c]\n"
        "print(version_of(dag, file='d.py', generation='native', sources={}).sha)\n"
    )
    shas = {subprocess.run([sys.executable, file], capture_output=True, check=True, text=True, env={"PYTHONHASHSEED": seed}).stdout.split()[0] for seed in "123"}
    assert len(shas) == 1


def test_10000_tasks_are_serialized_in_two_seconds() -> None:
    with DAG("d") as dag:
        tasks = [BashOperator(task_id=f"t{number}", bash_command="true") for number in range(10_000)]
        for one_task, other in pairwise(tasks):
            one_task >> other
    begin = time.process_time()
    version = serialized(dag)
    assert time.process_time() - begin < 2
    assert version.tasks[0].weight == 10_000


def test_signatures_are_kept_beside_a_version_and_are_no_part_of_it() -> None:
    version = Version(dag_id="d", file="d.py", generation="native", tasks=())
    signed = replace(version, signatures=("one", "two"))
    assert (signed.json, signed.sha, signed) == (version.json, version.sha, version)
    again = Version.from_json(version.json, ("one",))
    assert (again.sha, again.signatures) == (version.sha, ("one",))


def test_a_version_keeps_the_text_that_it_was_read_from_as_another_release_may_have_written_it() -> None:
    text = json.dumps({**json.loads(Version(dag_id="d", file="d.py", generation="native", tasks=()).json), "description": "é"})
    again = Version.from_json(text)
    assert (again.json, again.sha) == (text, hashlib.sha256(text.encode()).hexdigest())


@pytest.mark.parametrize("text", ["[]", '{"format":1}', '{"format":1,"tasks":[{}],"dag_id":"x"}', '{"format":1,"tasks":[],"signatures":["x"]}',
                                  '{"format":1,"tasks":5,"dag_id":"x","file":"","generation":""}', '{"format":2}', "null"])
def test_what_is_no_version_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"no version|another release"):
        Version.from_json(text)
