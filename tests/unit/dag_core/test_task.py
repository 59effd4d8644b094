from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from enum import Enum
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest

from rqflow import DAG, BaseOperator, BashOperator, EmptyOperator, PythonOperator, TriggerRule
from rqflow.dag.construction import apply_defaults
from rqflow.dag.model import Collected
from rqflow.exceptions import DagLoadError


class Rule(str, Enum):
    """As the shim of another generation might have it."""

    DONE = "all_done"


class Greet(BaseOperator):
    template_fields = ("name",)

    @apply_defaults
    def __init__(self, name: str, files: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.name = name
        self.files = files


class Loud(Greet):
    def __init__(self, volume: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.volume = volume


class Forgetful(BaseOperator):
    def __init__(self, task_id: str) -> None:
        self.x = task_id


def a_bash(**arguments: Any) -> BashOperator:
    with DAG("d"):
        return BashOperator(**{"task_id": "a", "bash_command": "true", **arguments})


def problems(found: Collected) -> list[str]:
    return [problem.message for problem in found.notes.problems]


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("retries", "3", 3),
        ("retries", None, 0),
        ("retry_delay", 90, timedelta(seconds=90)),
        ("retry_delay", "1h30m", timedelta(minutes=90)),
        ("retry_delay", pendulum.duration(minutes=2), timedelta(minutes=2)),
        ("retry_delay", None, timedelta(minutes=5)),
        ("execution_timeout", timedelta(hours=1), timedelta(hours=1)),
        ("trigger_rule", "none_failed_or_skipped", TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS),
        ("trigger_rule", "dummy", TriggerRule.ALWAYS),
        ("trigger_rule", Rule.DONE, TriggerRule.ALL_DONE),
        ("start_date", "2021-03-01", datetime(2021, 3, 1, tzinfo=UTC)),
        ("start_date", "2021/03/01", datetime(2021, 3, 1, tzinfo=UTC)),
        ("start_date", "March 1, 2021", datetime(2021, 3, 1, tzinfo=UTC)),
        ("start_date", "2021-03-01T06:00+02:00", datetime(2021, 3, 1, 4, tzinfo=UTC)),
        ("start_date", datetime(2021, 3, 1), datetime(2021, 3, 1, tzinfo=UTC)),
        ("start_date", date(2021, 3, 1), datetime(2021, 3, 1, tzinfo=UTC)),
        ("start_date", pendulum.datetime(2021, 3, 1), datetime(2021, 3, 1, tzinfo=UTC)),
        ("email", "a@x.org; b@x.org,c@x.org", ("a@x.org", "b@x.org", "c@x.org")),
        ("email", ["a@x.org", "b@x.org"], ("a@x.org", "b@x.org")),
        ("outputs", "a.bam", ("a.bam",)),
        ("outputs", PurePosixPath("/a.bam"), ("/a.bam",)),
        ("outputs", {"b", "a"}, ("a", "b")),
        ("worker_labels", {"gpu": True, "disk": "ssd"}, ("gpu", "disk=ssd")),
        ("worker_labels", "gpu, disk=ssd", ("gpu", "disk=ssd")),
        ("umask", 0o022, "022"),
        ("umask", "0o027", "027"),
        ("memory", "512M", 512 << 20),
        ("memory", 1000, 1000),
        ("cpus", "0.5", 0.5),
        ("nice", 10, 10),
        ("nofile", "1024", 1024),
        ("grace", "never", timedelta(0)),
        ("grace", "2h", timedelta(hours=2)),
        ("depends_on_past", "True", True),
        ("task_concurrency", 2, 2),
        ("pool", None, "default_pool"),
        ("weight_rule", "absolute", "absolute"),
    ],
)
def test_arguments_are_read_in_every_spelling(loading: Collected, name: str, given: Any, kept: Any) -> None:
    task = a_bash(**{name: given})
    assert task.argument({"task_concurrency": "max_active_tis_per_dag"}.get(name, name)) == kept
    assert problems(loading) == []
    assert loading.notes.warnings == []


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("retries", "x", "task a: retries='x' must be a whole number"),
        ("retries", -1, "must be at least 0"),
        ("retries", 1.5, "must be a whole number"),
        ("retry_delay", timedelta(seconds=-1), "must not be negative"),
        ("retry_delay", -5, "must not be negative"),
        ("retry_delay", "-5m", "must not be negative"),
        ("retry_delay", "soon", "is no duration"),
        ("retry_delay", [], "must be a timedelta"),
        ("retry_delay", 1e300, "is too long"),
        ("execution_timeout", 0, "longer than 0 s"),
        ("pool_slots", 0, "must be at least 1"),
        ("trigger_rule", "all_sucess", "did you mean all_success?"),
        ("trigger_rule", "sometimes", "there are all_success, all_failed"),
        ("weight_rule", "upstreams", "did you mean upstream?"),
        ("on_lost", "panic", "must be one of retry, fail, wait"),
        ("start_date", "someday", "must be a datetime"),
        ("start_date", 5, "must be a datetime"),
        ("umask", "999", "must be octal"),
        ("depends_on_past", "maybe", "must be True or False"),
        ("queue", 5, "must be text"),
        ("params", 5, "must be a dictionary"),
        ("outputs", 5, "must be a path or a list of paths"),
        ("outputs", [3], "outputs=[3] must be a path or a list of paths"),
        ("files", [""], "must be a path or a list of paths"),
        ("env", "A=1", "env='A=1' must be a dictionary"),
        ("env", {"A=": "1"}, "has 'A=', which is no name of a variable"),
        ("env", {3: "1"}, "has 3, which is no name of a variable"),
        ("cwd", 3, "cwd=3 must be the path of a folder"),
        ("pipefail", "x", "pipefail='x' must be True or False"),
        ("append_env", "x", "must be True or False"),
        ("skip_exit_code", "x", "skip_exit_code='x' must be an exit code"),
        ("skip_on_exit_code", [1, "x"], "skip_on_exit_code=[1, 'x'] must be an exit code or a list"),
        ("retry_delay", timedelta(seconds=-90), "retry_delay=-90s must not be negative"),
        ("grace", "x", "grace='x' is no duration: write it like 90s"),
        ("umask", 0o1777, "umask=0o1777 must be octal"),
        ("priority_weight", "high", "must be a whole number"),
        ("memory", "much", "memory='much' is no size: write it like 512"),
        ("memory", 0, "must be a number of bytes, or text like 512M"),
        ("cpus", 0, "must be a number of processors, like 2 or 0.5"),
        ("nice", 20, "must be at most 19"),
        ("nofile", 1, "must be at least 3"),
    ],
)
def test_bad_argument_is_reported_with_its_line(loading: Collected, name: str, given: Any, said: str) -> None:
    a_bash(**{name: given})
    (problem,) = loading.notes.problems
    assert said in problem.message
    assert problem.file == __file__


def test_env_of_any_task_is_read(loading: Collected) -> None:
    with DAG("d"):
        PythonOperator(task_id="a", python_callable=print, env="A=1")
    assert problems(loading) == ["task a: env='A=1' must be a dictionary, {name: value}"]


@pytest.mark.parametrize("given", [{"cwd": PurePosixPath("/data")}, {"env": {"A B": 1}}, {"env": {}}, {"skip_on_exit_code": (1, 2)}, {"cwd": "{{ ds }}"}])
def test_good_arguments_of_bash(loading: Collected, given: dict[str, Any]) -> None:
    a_bash(**given)
    assert problems(loading) == []


def test_problem_names_the_authors_line_also_for_an_own_class(loading: Collected) -> None:
    with DAG("d"):
        line = test_problem_names_the_authors_line_also_for_an_own_class.__code__.co_firstlineno + 3
        Loud(task_id="a", name="x", retries="many")
    assert [problem.line for problem in loading.notes.problems] == [line]


def test_all_bad_arguments_are_reported_together(loading: Collected) -> None:
    a_bash(retries="x", pool_slots=0, task_id="a b")
    assert len(loading.notes.problems) == 3


def test_outside_of_a_load_a_bad_argument_is_raised() -> None:
    with pytest.raises(DagLoadError, match=r"test_task\.py:\d+: task a: retries"):
        a_bash(retries="x")


def test_argument_assigned_later_is_checked_when_it_is_used(loading: Collected) -> None:
    task = a_bash()
    task.trigger_rule = "all_done"
    task.retries = "many"
    assert task.argument("trigger_rule") is TriggerRule.ALL_DONE
    assert task.argument("retries") == 0
    assert problems(loading) == ["task a: retries='many' must be a whole number"]


def test_default_args_fill_what_a_constructor_takes_and_the_rest_is_silent(loading: Collected) -> None:
    defaults = {"retries": 2, "owner": "me", "name": "you", "volume": 9, "catchup": False, "depend_on_past": True, "mode": "poke"}
    with DAG("d", default_args=defaults):
        task = Loud(task_id="a", owner="her")
        bash = BashOperator(task_id="b", bash_command="true")
    assert (task.name, task.volume, task.argument("retries"), task.argument("owner")) == ("you", 9, 2, "her")
    assert bash.argument("retries") == 2
    assert loading.notes.warnings == []


def test_default_args_reach_a_task_given_its_dag_and_may_be_its_own() -> None:
    dag = DAG("d", default_args={"retries": 2, "env": {"A": "1"}})
    task = BashOperator(task_id="a", bash_command="true", dag=dag, default_args={"retries": 3})
    assert (task.argument("retries"), task.env) == (3, {"A": "1"})


def test_unknown_argument_is_a_warning(loading: Collected) -> None:
    a_bash(provide_contxt=True, retrys=2)
    assert [warning.message for warning in loading.notes.warnings] == [
        "BashOperator takes no argument provide_contxt; it is ignored",
        "BashOperator takes no argument retrys; it is ignored; did you mean retries?",
    ]
    assert problems(loading) == []


def test_missing_argument_is_a_load_error_with_its_line(loading: Collected) -> None:
    with DAG("d"), pytest.raises(DagLoadError, match=r"test_task\.py:\d+: PythonOperator needs python_callable"):
        PythonOperator(task_id="a")
    with DAG("e"), pytest.raises(DagLoadError, match="Greet needs name"):
        Greet(task_id="a")


def test_class_that_does_not_call_super_is_reported(loading: Collected) -> None:
    Forgetful("a")
    assert problems(loading) == ["Forgetful.__init__ does not call super().__init__(**kwargs)"]


def test_own_class_may_use_our_argument_names_for_itself(loading: Collected) -> None:
    with DAG("d"):
        task = Greet(task_id="a", name="x", files={"not": "files"})
    assert task.files == {"not": "files"}
    assert task.argument("files") == ()
    assert problems(loading) == []


def test_task_without_dag_gets_that_of_its_neighbour() -> None:
    dag = DAG("d")
    one, other = EmptyOperator(task_id="one", dag=dag), EmptyOperator(task_id="other")
    assert not other.has_dag()
    with pytest.raises(AttributeError, match="other has no DAG"):
        _ = other.dag
    one >> other
    assert other.dag is dag
    third = EmptyOperator(task_id="third")
    third.dag = dag
    third.dag = dag
    third >> one
    fourth = EmptyOperator(task_id="fourth", pre_execute=None)
    third << fourth
    fifth = EmptyOperator(task_id="fifth")
    fifth >> third
    assert dag.task_ids == ["one", "other", "third", "fourth", "fifth"]


def test_output_is_a_template_and_a_dependency() -> None:
    with DAG("d"):
        first = BashOperator(task_id="first", bash_command="echo 1")
        second = BashOperator(task_id="second", bash_command="true", env={"X": [first.output["k"]]})
    assert second.upstream_list == [first]
    assert str(first.output) == "{{ task_instance.xcom_pull(task_ids='first', key='return_value') }}"
    third = EmptyOperator(task_id="third")
    first.output >> third
    assert first.get_direct_relatives() == [second, third]
    assert third.get_direct_relatives(upstream=True) == [first]


def test_hooks_given_as_arguments_replace_the_methods() -> None:
    called = []
    task = a_bash(post_execute=lambda context, result: called.append(result))
    task.pre_execute({})
    task.post_execute({}, 5)
    assert called == [5]


def test_authors_classes_have_what_airflow_gives_them() -> None:
    with DAG("d"):
        task = Greet(task_id="a", name="x")
    assert task.task_type == "Greet"
    assert task.log.name == "rqflow.task.Greet"
    assert repr(task) == "<Task(Greet): a>"
    task.on_kill()
    with pytest.raises(NotImplementedError):
        task.execute({})
    pushed: dict[str, Any] = {}
    context = {"ti": SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}), xcom_pull=lambda task_ids: pushed[task_ids])}
    task.xcom_push(context, "k", 5)
    assert task.xcom_pull(context, task_ids="k") == 5
