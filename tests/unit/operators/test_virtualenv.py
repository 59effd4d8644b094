"""Callables under other interpreters: what is started, and what its end means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rqflow import (
    DAG,
    BranchExternalPythonOperator,
    BranchPythonVirtualenvOperator,
    EmptyOperator,
    ExternalPythonOperator,
    PythonVirtualenvOperator,
)
from rqflow.dag.model import collecting
from rqflow.dag.serialization import version_of
from rqflow.dag.version import Version
from rqflow.operators.base import Ended, Launch
from rqflow.states import TaskState
from tests.unit.operators.jobs import a_job, launch, outcome, result


def work(x: int) -> int:
    return x + 1


def version_with(operator: Any, **arguments: Any) -> Version:
    with DAG("d") as dag:
        operator(task_id="a", **{"python_callable": work, **arguments}) >> [EmptyOperator(task_id="left"), EmptyOperator(task_id="right")]
    return version_of(dag, file="d.py", generation="2", sources={})


def started(operator: Any, **arguments: Any) -> Launch:
    return launch(a_job(version_with(operator, **arguments), venvs=Path("/venvs")))


def test_the_source_of_the_function_goes_to_the_interpreter() -> None:
    found = started(ExternalPythonOperator, python="/opt/bin/python", op_args=[1], env_vars={"A": 1}, inherit_env=False)
    assert found.argv == ("/opt/bin/python", "/runner.py", "/try/spec.json")
    assert (dict(found.env), found.inherit_env) == ({"A": "1"}, False)
    assert found.spec
    assert (found.spec["mode"], found.spec["function"], found.spec["args"]) == ("function", "work", [1])
    assert "return x + 1" in found.spec["source"]


@pytest.mark.parametrize(
    ("arguments", "requirements", "options"),
    [
        ({}, [], []),
        ({"requirements": ["a==1", "b"]}, ["a==1", "b"], []),
        ({"requirements": "a==1\n\n# a remark\n b"}, ["a==1", "b"], []),
        ({"index_urls": ["https://one", "https://two"]}, [], ["--index-url=https://one", "--extra-index-url=https://two"]),
        ({"index_urls": "https://one", "pip_install_options": ["--no-deps"]}, [], ["--index-url=https://one", "--no-deps"]),
    ],
)
def test_an_environment_is_wanted(arguments: Mapping[str, Any], requirements: list[str], options: list[str]) -> None:
    found = started(PythonVirtualenvOperator, **arguments)
    assert found.argv == ("/py", "/virtualenv.py", "/try/spec.json")
    assert found.spec
    assert found.spec["venv"] == {
        "folder": "/venvs", "python": None, "requirements": requirements, "system_site_packages": True, "options": options}


def test_the_author_says_where_and_of_which_python() -> None:
    found = started(PythonVirtualenvOperator, venv_cache_path="/data/venvs", python_version=3.11, system_site_packages=False, string_args=["x"])
    assert found.spec
    venv = found.spec["venv"]
    assert (venv["folder"], venv["python"], venv["system_site_packages"]) == ("/data/venvs", "3.11", False)
    assert found.spec["globals"] == {"virtualenv_string_args": ["x"]}


def test_an_exit_code_may_mean_skipped() -> None:
    job = a_job(version_with(ExternalPythonOperator, python="python3", skip_on_exit_code=[42]))
    assert outcome(Ended(exit_code=42, result={"state": "failed"}), job).state is TaskState.SKIPPED
    assert outcome(Ended(exit_code=1, result={"state": "failed"}), job).state is TaskState.FAILED
    assert outcome(result(5), job).xcoms == {"return_value": "5"}


@pytest.mark.parametrize(
    ("operator", "arguments"), [(BranchExternalPythonOperator, {"python": "python3"}), (BranchPythonVirtualenvOperator, {})]
)
def test_a_branch_skips_what_it_does_not_choose(operator: Any, arguments: Mapping[str, Any]) -> None:
    version = version_with(operator, **arguments)
    assert outcome(result("left"), a_job(version)).skip == (version.by_id["right"].index,)
    assert outcome(result("nowhere"), a_job(version)).state is TaskState.FAILED
    assert outcome(result(None, "failed"), a_job(version)).skip == ()


def test_what_cannot_go_to_another_interpreter_is_told() -> None:
    with collecting() as found, DAG("d") as dag:
        PythonVirtualenvOperator(task_id="a", python_callable=lambda: 0, skip_on_exit_code="no")
        PythonVirtualenvOperator(task_id="b", python_callable=work, op_args=[object()])
        for task in dag.tasks:
            task.more_fields()
    said = [problem.message for problem in found.notes.problems]
    assert any("skip_on_exit_code='no' must be an exit code" in one for one in said)
    assert any("only a function defined by def can be given to another Python" in one for one in said)
    assert any("op_args must be JSON values" in one for one in said)
