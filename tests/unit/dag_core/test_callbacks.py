"""Which functions a task and a DAG have to be called, and what is refused."""

from __future__ import annotations

import pytest

from rqflow.dag.callbacks import dag_kinds, functions, name_of, task_kinds
from rqflow.dag.model import DAG
from rqflow.dag.problems import noting
from rqflow.dag.serialization import version_of
from rqflow.dag.version import Version
from rqflow.exceptions import DagLoadError
from rqflow.operators.bash import BashOperator
from rqflow.operators.empty import EmptyOperator


class Notifier:
    """An object that is called like a function, as those of Airflow's providers are."""

    def __call__(self, _context: object) -> None:
        """Be called."""


def a_version(**arguments: object) -> Version:
    with DAG("d") as dag:
        BashOperator(task_id="a", bash_command="true", **arguments)  # type: ignore[arg-type]
    return version_of(dag, file="d.py", generation="native", sources={})


def test_a_version_says_which_kinds_a_task_has() -> None:
    (task,) = a_version(on_failure_callback=print, on_retry_callback=[print, Notifier()], on_success_callback=None, on_skipped_callback=[]).tasks
    assert task.callbacks == ("failure", "retry")
    assert not task.needs_source, "the task itself runs as it would without them"


def test_what_is_called_before_a_task_makes_it_run_in_a_python_child() -> None:
    (task,) = a_version(on_execute_callback=print).tasks
    assert task.needs_source
    with DAG("d") as dag:
        EmptyOperator(task_id="e", on_execute_callback=print)
    (empty,) = version_of(dag, file="d.py", generation="native", sources={}).tasks
    assert (empty.operator, empty.needs_source) == ("python", True)


def test_default_args_give_them_to_all_tasks_and_none_takes_them_away() -> None:
    with DAG("d", default_args={"on_failure_callback": print}) as dag:
        EmptyOperator(task_id="a")
        EmptyOperator(task_id="b", on_failure_callback=None)
    assert [task.callbacks for task in version_of(dag, file="d.py", generation="native", sources={}).tasks] == [("failure",), ()]


def test_a_dag_without_them_has_the_version_that_it_had_before_there_were_any() -> None:
    assert "callbacks" not in a_version().json
    assert Version.from_json(a_version(on_failure_callback=print).json) == a_version(on_failure_callback=print)


@pytest.mark.parametrize("value", ["notify", 3, [print, "notify"]])
def test_what_is_no_function_is_refused_with_its_place(value: object) -> None:
    with pytest.raises(DagLoadError, match=r"test_callbacks.py:\d+: task a: on_failure_callback=.* must be a function, or a list of functions"):
        a_version(on_failure_callback=value)


def test_those_of_a_dag_are_its_own_kinds() -> None:
    with noting() as notes:
        assert dag_kinds(DAG("d", on_success_callback=print, sla_miss_callback=Notifier())) == ("run_success", "sla_miss")
        assert task_kinds(EmptyOperator(task_id="a", dag=DAG("e"))) == ()
    assert not notes.problems


def test_functions_have_names_for_people() -> None:
    assert functions(None) == []
    assert [name_of(one) for one in functions([print, Notifier()])] == ["print", "Notifier"]
