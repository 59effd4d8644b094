from __future__ import annotations

import pytest

from rqflow.exceptions import TaskFailed
from rqflow.worker import environment

PREFIX = "/opt/rqflow"


def snapshot(**environ: str) -> dict[str, str]:
    return environment.snapshot(environ, prefix=PREFIX, base_prefix="/usr")


@pytest.mark.parametrize(
    "name",
    [
        "RQFLOW__DATABASE__URL", "RQFLOW_HOME", "RQFLOW_CONFIG", "RQFLOW_TOKEN", "RQFLOW_VAR_X", "RQFLOW_CONN_X", "RQFLOW_TASK_ID", "RQFLOW_EXECUTION",
        "AIRFLOW__CORE__X", "AIRFLOW_CONN_DB", "AIRFLOW_VAR_X", "AIRFLOW_CTX_DAG_ID", "RQ_WORKER_ID", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET",
        "SUPERVISOR_ENABLED", "PYTHONHOME",
    ],
)
def test_what_is_ours_is_not_handed_on(name: str) -> None:
    assert name not in snapshot(**{name: "x"})


@pytest.mark.parametrize("name", ["HOME", "AIRFLOW_HOME", "RQFLOW_MINE", "AWS_SECRET_ACCESS_KEY", "CONDA_PREFIX", "PYTHONSTARTUP"])
def test_what_is_theirs_is_handed_on(name: str) -> None:
    assert snapshot(**{name: "x"})[name] == "x"


def test_our_virtual_environment_is_left_behind() -> None:
    found = snapshot(VIRTUAL_ENV=PREFIX, VIRTUAL_ENV_PROMPT="x", PATH=f"{PREFIX}/bin:/usr/bin:/opt/rqflow2/bin")
    assert "VIRTUAL_ENV" not in found
    assert "VIRTUAL_ENV_PROMPT" not in found
    assert found["PATH"] == "/usr/bin:/opt/rqflow2/bin"


def test_a_virtual_environment_of_theirs_stays() -> None:
    found = snapshot(VIRTUAL_ENV="/home/me/env", PATH="/home/me/env/bin:/usr/bin")
    assert (found["VIRTUAL_ENV"], found["PATH"]) == ("/home/me/env", "/home/me/env/bin:/usr/bin")


def test_path_is_never_empty() -> None:
    assert snapshot(PATH=f"{PREFIX}/bin")["PATH"]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, {"LANG": "C.UTF-8"}),
        ({"LANG": "C"}, {"LANG": "C.UTF-8"}),
        ({"LANG": "POSIX", "LC_ALL": "C"}, {"LANG": "C.UTF-8"}),
        ({"LANG": "de_DE.UTF-8"}, {"LANG": "de_DE.UTF-8"}),
        ({"LANG": "C", "LC_ALL": "en_US.UTF-8"}, {"LANG": "C", "LC_ALL": "en_US.UTF-8"}),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, {"LANG": "C.UTF-8", "LC_CTYPE": "C.UTF-8"}),
    ],
)
def test_language(environ: dict[str, str], expected: dict[str, str]) -> None:
    found = snapshot(**environ)
    assert {name: value for name, value in found.items() if name.startswith("L")} == expected


def test_variables_and_connections_are_kept_apart() -> None:
    assert environment.given({"AIRFLOW_VAR_X": "1", "RQFLOW_CONN_Y": "2", "HOME": "h"}) == {"AIRFLOW_VAR_X": "1", "RQFLOW_CONN_Y": "2"}


def test_env_file() -> None:
    text = "# comment\n\nA=1\nexport B = two \nC='a b'\nD=\"x=y\"\nE=\nF=a # b\n"
    assert environment.parse(text, "f") == {"A": "1", "B": "two", "C": "a b", "D": "x=y", "E": "", "F": "a # b"}


@pytest.mark.parametrize("line", ["nonsense", "1A=2", "A B=1", "=x"])
def test_env_file_with_a_bad_line_is_refused_by_number(line: str) -> None:
    with pytest.raises(TaskFailed, match="env_file f, line 2"):
        environment.parse(f"A=1\n{line}\n", "f")
