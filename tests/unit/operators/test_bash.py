from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from rqflow import DAG, BashOperator, SkipTask
from rqflow.dag.model import collecting
from rqflow.dag.program import Surroundings
from rqflow.exceptions import TaskFailed
from rqflow.operators.base import Ended, Outcome
from rqflow.operators.bash import LONGEST_ARGUMENT
from rqflow.states import TaskState
from tests.unit.builders import a_task, a_version
from tests.unit.operators.jobs import a_job, launch, outcome, run


def job_of(command: str = "true", version: dict[str, Any] | None = None, **task: Any) -> Any:
    return a_job(a_version(specs=[a_task("a", command, **task)], **(version or {})))


def ran(tmp_path: Path, command: str, **task: Any) -> Outcome:
    job = a_job(a_version(specs=[a_task("a", command, **task)]), folder=tmp_path)
    return outcome(run(launch(job), tmp_path), job)


@pytest.mark.parametrize(
    ("command", "state", "reason"),
    [
        ("true", TaskState.SUCCESS, ""),
        ("exit 3", TaskState.FAILED, "exit code 3"),
        ("exit 99", TaskState.SKIPPED, "exit code 99"),
        ("kill -9 $$", TaskState.FAILED, "killed by signal 9 (KILL)"),
        ("kill -TERM $$", TaskState.FAILED, "killed by signal 15 (TERM)"),
        ("no-such-command", TaskState.FAILED, "exit code 127 (command not found)"),
        ("false | true", TaskState.SUCCESS, ""),
    ],
)
def test_exit_code_decides(tmp_path: Path, command: str, state: TaskState, reason: str) -> None:
    found = ran(tmp_path, command)
    assert (found.state, found.reason) == (state, reason)


@pytest.mark.parametrize(
    ("given", "codes"),
    [
        ({}, [99]),
        ({"skip_exit_code": 7}, [7]),
        ({"skip_exit_code": None}, []),
        ({"skip_on_exit_code": [7, 8]}, [7, 8]),
        ({"skip_on_exit_code": 7}, [7]),
        ({"skip_on_exit_code": None}, []),
    ],
)
def test_skip_codes_in_every_spelling(given: dict[str, Any], codes: list[int]) -> None:
    with DAG("d"):
        assert BashOperator(task_id="a", bash_command="true", **given).skip_exit_code == codes


def test_other_skip_codes(tmp_path: Path) -> None:
    assert ran(tmp_path, "exit 7", fields={"skip_exit_code": [7, 8]}).state is TaskState.SKIPPED
    assert ran(tmp_path, "exit 99", fields={"skip_exit_code": []}).state is TaskState.FAILED


def test_last_line_becomes_the_xcom_unless_told_otherwise(tmp_path: Path) -> None:
    assert ran(tmp_path, "echo one; echo größe").xcoms == {"return_value": '"größe"'}
    assert ran(tmp_path, "echo one", do_xcom_push=False).xcoms == {}
    assert ran(tmp_path, "echo one; exit 1").xcoms == {}


def test_pipefail_by_configuration_and_by_task(tmp_path: Path) -> None:
    assert ran(tmp_path, "false | true", fields={"pipefail": True}).state is TaskState.FAILED
    job = a_job(a_version(specs=[a_task("a", "false | true")]), folder=tmp_path, pipefail=True)
    assert run(launch(job), tmp_path).exit_code == 1
    assert run(launch(job, pipefail=False), tmp_path).exit_code == 0


def test_setup_line_runs_first_in_the_same_shell(tmp_path: Path) -> None:
    assert ran(tmp_path, "echo $X", setup="export X=5; f() { :; } # comment").xcoms == {"return_value": '"5"'}


def test_setup_line_that_fails_fails_the_task(tmp_path: Path) -> None:
    job = a_job(a_version(specs=[a_task("a", "touch ran", setup="(exit 4)")]), folder=tmp_path)
    assert run(launch(job), tmp_path).exit_code == 4
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("size", [10, LONGEST_ARGUMENT + 1, 300_000])
def test_long_command_goes_to_a_file(tmp_path: Path, size: int) -> None:
    job = a_job(a_version(specs=[a_task("a", f": {'x' * size}\necho done", setup="export X=1")]), folder=tmp_path)
    found = launch(job)
    assert (list(found.files) == ["command.sh"]) is (size > LONGEST_ARGUMENT)
    assert run(found, tmp_path).last_line == "done"


@pytest.mark.parametrize(
    ("generation", "fields", "inherits"),
    [
        ("2", {}, True),
        ("2", {"env": {}}, True),
        ("2", {"env": {"A": "1"}}, False),
        ("1", {"env": {"A": "1"}}, False),
        ("2", {"env": {"A": "1"}, "append_env": True}, True),
        ("native", {"env": {"A": "1"}}, True),
        ("native", {"env": {"A": "1"}, "append_env": False}, False),
        ("2", {"append_env": False}, True),
    ],
)
def test_env_replaces_the_environment_where_airflow_does(generation: str, fields: dict[str, Any], inherits: bool) -> None:
    found = launch(job_of(version={"generation": generation}, fields=fields))
    assert (found.inherit_env, found.env) == (inherits, fields.get("env", {}))
    in_child = launch(job_of(version={"generation": generation}, fields=fields, needs_source=True))
    assert in_child.spec["arguments"]["append_env"] is inherits


def test_env_values_are_text_and_cwd_is_kept() -> None:
    found = launch(job_of(), env={"A": 1, "B": None}, cwd="/data")
    assert (found.env, found.cwd) == ({"A": "1", "B": ""}, "/data")
    assert launch(job_of(), cwd="").cwd is None


def test_script_that_travels_is_run_as_it_is(tmp_path: Path) -> None:
    task = a_task("a", fields={"bash_command": None, "bash_file": "x.sh"})
    job = a_job(a_version(specs=[task], file="sub/d.py", sources={"sub/x.sh": "a=(1 2)\necho {{ ${#a[@]}"}), folder=tmp_path)
    assert run(launch(job), tmp_path).last_line == "{{ 2"


def test_script_may_be_kept_as_bytes_and_must_be_there(tmp_path: Path) -> None:
    task = a_task("a", fields={"bash_command": None, "bash_file": "x.sh"})
    job = a_job(a_version(specs=[task], sources={"x.sh": {"base64": "ZWNobyBoaQ=="}}), folder=tmp_path)
    assert run(launch(job), tmp_path).last_line == "hi"
    latin = a_job(a_version(specs=[task], sources={"x.sh": {"base64": "ZWNobyDk"}}))
    assert launch(latin).files["command.sh"].encode(errors="surrogateescape") == b"echo \xe4"
    with pytest.raises(TaskFailed, match=r"'x.sh' is not beside the DAG file d\.py"):
        launch(a_job(a_version(specs=[task])))


def test_script_with_an_absolute_path_is_the_workers(tmp_path: Path) -> None:
    (tmp_path / "x.sh").write_text("echo $X hi")
    job = a_job(a_version(specs=[a_task("a", fields={"bash_command": None, "bash_file": f"{tmp_path}/x.sh"}, setup="export X=1")]), folder=tmp_path)
    assert run(launch(job), tmp_path).last_line == "1 hi"


def test_files_that_travel() -> None:
    with DAG("d"):
        assert BashOperator(task_id="a", bash_file="x.sh", files=["y.txt"]).source_files() == ("y.txt", "x.sh")
        assert BashOperator(task_id="b", bash_file="/x.sh").source_files() == ()


def test_nul_in_a_rendered_command_is_refused() -> None:
    with pytest.raises(TaskFailed, match="NUL"):
        launch(job_of(), bash_command="echo \0")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "needs either bash_command or bash_file"),
        ({"bash_command": "a", "bash_file": "b"}, "needs either"),
        ({"bash_command": ["a"]}, "must be text, not ['a']"),
        ({"bash_command": "a\0"}, "NUL"),
    ],
)
def test_bad_arguments_are_reported(given: dict[str, Any], said: str) -> None:
    with collecting() as found, DAG("d"):
        BashOperator(task_id="a", **given)
    (problem,) = found.notes.problems
    assert said in problem.message


def test_task_that_needs_the_source_is_started_in_a_python_child() -> None:
    found = launch(job_of(needs_source=True, setup="conda activate x"), env={"A": "1"})
    assert found.argv == ("/py", "/runner.py", "/try/spec.json")
    assert found.spec == {
        "mode": "task", "file": "d.py", "dag_id": "d", "task_id": "a", "try_number": 1,
        "arguments": {"pipefail": False, "append_env": True, "bash_argv": (), "bash_script": "/try/command.sh"},
    }  # fmt: skip
    job = job_of(needs_source=True)
    assert outcome(Ended(exit_code=0, result={"state": "skipped", "reason": "exit code 99"}), job).state is TaskState.SKIPPED
    assert outcome(Ended(exit_code=99, result={"state": "program"}), job).state is TaskState.SKIPPED
    assert outcome(Ended(exit_code=0, last_line="x", result={"state": "program"}), job).xcoms == {"return_value": '"x"'}


def test_python_child_that_ends_before_its_command_has_failed() -> None:
    """The DAG file may call os._exit(0)."""
    found = outcome(Ended(exit_code=0), job_of(needs_source=True))
    assert (found.state, found.reason) == (TaskState.FAILED, "the Python process ended without a result")


def test_env_that_renders_to_no_dictionary_is_refused() -> None:
    with pytest.raises(TaskFailed, match=r"env must be a dictionary.* not 'A=1'"):
        launch(job_of(), env="A=1")


def test_python_child_is_told_what_only_the_worker_knows() -> None:
    task = a_task("a", needs_source=True, setup="export X=1", fields={"bash_command": None, "bash_file": "x.sh"})
    version = a_version(specs=[task], sources={".rqflow-searchpath/0/x.sh": "echo hi"}, template_searchpath=("/author/scripts",))
    found = launch(a_job(version, pipefail=True))
    assert found.spec["arguments"] == {"pipefail": True, "append_env": True, "bash_argv": ("bash", "/try/command.sh"), "bash_script": "/try/command.sh"}
    assert found.files["command.sh"].endswith("set -o pipefail\necho hi")
    assert "export X=1" in found.files["command.sh"]


def executed(tmp_path: Path, **arguments: Any) -> str | None:
    environ = {"PATH": os.environ["PATH"], "OUTER": "1", "RQFLOW_DAG_ID": "d", "RQFLOW_VAR_X": "secret"}
    with DAG("d"):
        task = BashOperator(task_id="a", cwd=str(tmp_path), **arguments)
    task.child_surroundings = Surroundings(environ, hidden=["RQFLOW_VAR_X"], bare=["PATH", "RQFLOW_DAG_ID"])
    return task.execute({})


def test_execute_in_a_python_child_returns_the_last_line(tmp_path: Path) -> None:
    assert executed(tmp_path, bash_command="echo one; echo two >&2; echo; pwd") == str(tmp_path)
    assert executed(tmp_path, bash_command="echo $A$OUTER$RQFLOW_VAR_X", env={"A": "x"}, append_env=True) == "x1"
    assert executed(tmp_path, bash_command="echo $A-$OUTER-$RQFLOW_DAG_ID", env={"A": "x y"}) == "x y--d"
    (tmp_path / "x.sh").write_text("echo $S")
    assert executed(tmp_path, bash_file=str(tmp_path / "x.sh"), setup="export S=5") == "5"
    assert executed(tmp_path, bash_command=f": {'x' * 300_000}\necho done") == "done"
    assert executed(tmp_path, bash_command="head -c 60000 /dev/zero | tr '\\0' x") is None


@pytest.mark.parametrize(
    ("command", "error", "said"),
    [
        ("exit 99", SkipTask, "exit code 99"),
        ("exit 3", TaskFailed, "exit code 3"),
        ("kill -9 $$", TaskFailed, "killed by signal 9"),
        ("false | true", TaskFailed, "exit code 1"),
    ],
)
def test_execute_in_a_python_child_raises_for_a_bad_end(tmp_path: Path, command: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        executed(tmp_path, bash_command=command, pipefail=True)
