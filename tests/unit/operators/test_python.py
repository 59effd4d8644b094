from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from rqflow import DAG, BaseOperator, BranchPythonOperator, EmptyOperator, PythonOperator, ShortCircuitOperator
from rqflow.dag.model import Collected, collecting
from rqflow.dag.serialization import version_of
from rqflow.dag.version import TaskSpec, Version
from rqflow.exceptions import DagLoadError, TaskFailed
from rqflow.operators.base import Ended, Outcome
from rqflow.operators.python import keyword_arguments
from rqflow.states import TaskState
from tests.unit.builders import a_version
from tests.unit.operators.jobs import a_job, launch, outcome, result, run

CONTEXT = {"ds": "2024-01-01", "ti": "TI", "params": {"a": 1}, "run_id": "r1"}


def add(first: int, second: int = 1) -> int:
    return first + second


def spec_of(operator: type[BaseOperator] = PythonOperator, **arguments: Any) -> TaskSpec:
    with DAG("d") as dag:
        operator(task_id="a", **{"python_callable": add, **arguments})
    return version_of(dag, file="d.py", generation="native", sources={}).tasks[0]


def executed(function: Any, **arguments: Any) -> Any:
    with DAG("d"):
        return PythonOperator(task_id="a", python_callable=function, **arguments).execute(CONTEXT)


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "wanted"),
    [
        (lambda: 0, [], {}, {}),
        (lambda ds: 0, [], {}, {"ds": "2024-01-01"}),
        (lambda ds, *, run_id: 0, [], {}, {"ds": "2024-01-01", "run_id": "r1"}),
        (lambda ds, x: 0, [], {"x": 5}, {"ds": "2024-01-01", "x": 5}),
        (lambda ds: 0, [], {"ds": "mine"}, {"ds": "mine"}),
        (lambda ds, other: 0, ["given", 1], {}, {}),
        (lambda x, **context: 0, [5], {"y": 6}, {**CONTEXT, "y": 6}),
        (lambda ds, **context: 0, ["given"], {}, {key: value for key, value in CONTEXT.items() if key != "ds"}),
        (lambda ds, /: 0, [5], {}, {}),
        (lambda *args: 0, [1, 2], {}, {}),
        (print, [1], {}, {}),
        (dict.fromkeys, [[1]], {}, {}),
        (partial(lambda ds, x: 0, x=5), [], {}, {"ds": "2024-01-01"}),
    ],
)
def test_function_gets_the_variables_that_it_names(function: Any, args: list[Any], kwargs: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert keyword_arguments(function, args, kwargs, CONTEXT) == wanted


def test_function_without_a_signature_gets_what_was_given() -> None:
    assert keyword_arguments(type, [], {"x": 1}, CONTEXT) == {"x": 1}


def test_execute_calls_the_function() -> None:
    assert executed(add, op_args=[2], op_kwargs={"second": 3}) == 5
    assert executed(lambda templates_dict, **_: templates_dict, templates_dict={"a": "b"}, provide_context=True) == {"a": "b"}
    assert executed(lambda **context: context["params"]) == {"a": 1}


def test_callable_travels_as_its_name_and_runs_from_the_source() -> None:
    spec = spec_of(op_args=[1], op_kwargs={"second": datetime(2024, 1, 1, tzinfo=UTC)})
    assert spec.fields["python_callable"] == {"callable": f"{__name__}.add"}
    assert (spec.needs_source, spec.template_fields) == (True, ("op_args", "op_kwargs"))
    job = a_job(a_version(specs=[spec]), folder="/try")
    assert launch(a_job(a_version(specs=[spec]))).argv == ("/py", "/runner.py", "/try/spec.json")
    assert outcome(result(5), job) == Outcome(state=TaskState.SUCCESS, xcoms={"return_value": "5"})


def test_env_of_a_python_task_is_given_to_its_child() -> None:
    spec = spec_of(env={"A": "{{ ds }}"}, setup="module load R")
    assert "env" in spec.template_fields
    found = launch(a_job(a_version(specs=[spec])), env={"A": "x"})
    assert (found.env, found.argv[:2], found.argv[-1]) == ({"A": "x"}, ("bash", "-c"), "/try/spec.json")


def test_function_for_another_python_travels_as_its_own_source() -> None:
    spec = spec_of(python="~/env/bin/python", op_args=[1], op_kwargs={"second": 2})
    assert (spec.needs_source, spec.fields["function"]) == (False, "add")
    assert spec.fields["source"] == "def add(first: int, second: int = 1) -> int:\n    return first + second\n"
    found = launch(a_job(a_version(specs=[spec]), context={**CONTEXT, "dag": object(), "many": [object()]}))
    assert found.argv[0].endswith("/env/bin/python")
    assert not found.argv[0].startswith("~")
    assert found.spec == {
        "mode": "function", "source": spec.fields["source"], "function": "add", "args": [1], "kwargs": {"second": 2},
        "context": {**CONTEXT, "templates_dict": None},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"python_callable": lambda: 0}, "only a function defined by def"),
        ({"python_callable": print}, "only a function defined by def"),
        ({"op_args": [object()]}, "op_args must be JSON values"),
        ({"op_kwargs": {"a": object()}}, "op_kwargs must be JSON values"),
    ],
)
def test_what_cannot_be_given_to_another_python_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(DagLoadError, match=said):
        spec_of(python="python3", **arguments)


def test_function_without_source_is_refused() -> None:
    names: dict[str, Any] = {}
    exec("def f(): pass", names)
    with pytest.raises(DagLoadError, match="the source of f is not to be found"):
        spec_of(python="python3", python_callable=partial(names["f"]))


def test_what_is_no_function_is_reported(loading: Collected) -> None:
    with DAG("d"):
        PythonOperator(task_id="a", python_callable=add(1))
    assert [problem.message for problem in loading.notes.problems] == ["task a: python_callable must be a function, not 2: was it called?"]


@pytest.fixture
def loading() -> Any:
    with collecting() as found:
        yield found


def branching() -> Version:
    with DAG("d") as dag:
        branch = BranchPythonOperator(task_id="branch", python_callable=add)
        short = ShortCircuitOperator(task_id="short", python_callable=add, ignore_downstream_trigger_rules=False)
        long = ShortCircuitOperator(task_id="long", python_callable=add)
        a, b, c = (EmptyOperator(task_id=name) for name in "abc")
        branch >> [a, b] >> c
        [short, long] >> a
    return version_of(dag, file="d.py", generation="native", sources={})


def skipped(task_id: str, ended: Ended) -> list[str]:
    version = branching()
    found = outcome(ended, a_job(version, task_id))
    assert found.state is TaskState.SUCCESS
    return [version.tasks[index].task_id for index in found.skip]


@pytest.mark.parametrize(("value", "skips"), [("a", ["b"]), (["a"], ["b"]), (["a", "b"], []), (None, ["a", "b"]), ([], ["a", "b"])])
def test_branch_skips_what_its_value_does_not_name(value: Any, skips: list[str]) -> None:
    assert skipped("branch", result(value)) == skips


@pytest.mark.parametrize(
    ("value", "said"),
    [("z", "'z', which is no task"), (["a", "c"], "'c', which is not directly"), (5, "must return a task id"), ([5], "must return a task id")],
)
def test_branch_that_names_something_else_fails(value: Any, said: str) -> None:
    found = outcome(result(value), a_job(branching(), "branch"))
    assert found.state is TaskState.FAILED
    assert said in found.reason
    assert found.skip == ()


@pytest.mark.parametrize(
    ("task_id", "value", "skips"),
    [("long", False, ["a", "c"]), ("long", 0, ["a", "c"]), ("long", None, ["a", "c"]), ("long", "yes", []), ("short", [], ["a"]), ("short", 1, [])],
)
def test_short_circuit_skips_when_the_answer_is_no(task_id: str, value: Any, skips: list[str]) -> None:
    assert skipped(task_id, result(value)) == skips


@pytest.mark.parametrize("task_id", ["branch", "long"])
@pytest.mark.parametrize("ended", [result(None, "failed"), Ended(signal=9), result(None, "skipped")])
def test_branch_that_did_not_succeed_skips_nothing(task_id: str, ended: Ended) -> None:
    found = outcome(ended, a_job(branching(), task_id))
    assert found.skip == ()
    assert found.state is not TaskState.SUCCESS


def test_branch_function_may_return_a_set_but_nothing_else() -> None:
    with DAG("d"):
        assert BranchPythonOperator(task_id="a", python_callable=lambda: {"y", "x"}).execute({}) == ["x", "y"]
        with pytest.raises(TaskFailed, match="must return a task id, a list of task ids or None, not 5"):
            BranchPythonOperator(task_id="b", python_callable=lambda: 5).execute({})


def test_empty_task_does_nothing(tmp_path: Any) -> None:
    with DAG("d") as dag:
        EmptyOperator(task_id="a").execute({})
    job = a_job(version_of(dag, file="d.py", generation="native", sources={}))
    assert outcome(run(launch(job), tmp_path), job) == Outcome(state=TaskState.SUCCESS)


