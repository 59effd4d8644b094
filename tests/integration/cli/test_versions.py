"""A repaired file: what a person lets run again is of the latest version, and what is new is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Rqflow
from tests.waiting import until

FILE = """
from datetime import datetime
from rqflow import DAG, BashOperator
with DAG("d", schedule=None, start_date=datetime(2024, 1, 1)):
    BashOperator(task_id="a", bash_command="{command}") >> BashOperator(task_id="b", bash_command="true")
"""


def tries(rqflow: Rqflow, task_id: str) -> list[tuple[str, str]]:
    """(state, version) of the tries of a task of the last run."""
    found = json.loads(rqflow("run", "show", "d@latest", "-o", "json").out)
    return [(one["state"], one["version"]) for task in found["tasks"] if task["task_id"] == task_id for one in task["tries"]]


def test_a_cleared_task_runs_as_the_repaired_file_says_unless_told_otherwise(rqflow: Rqflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQFLOW__SCHEDULER__IDLE_EXIT", "2s")
    path = tmp_path / "d.py"
    path.write_text(FILE.format(command="exit 3"))
    assert rqflow("submit", path, "--run", "--follow").code == 1
    path.write_text(FILE.format(command="exit 0"))
    assert rqflow("submit", path).code == 0

    assert "bash_command" not in rqflow("task", "clear", "d@latest", "a", "--same-version", "--dry-run").err
    assert rqflow("run", "retry", "d@latest", "--same-version", "-y").code == 0
    assert rqflow("run", "wait", "d@latest").code == 1
    said = rqflow("run", "retry", "d@latest", "-y")
    assert said.code == 0, said
    assert '  - bash_command = "exit 3"\n  + bash_command = "exit 0"' in said.err
    assert rqflow("run", "wait", "d@latest").code == 0

    until(lambda: len(tries(rqflow, "a")) == 3, what="the history to have the try in the middle")
    (_, first), (_, second), (last, third) = tries(rqflow, "a")
    assert (first, last) == (second, "success")
    assert third != first
    assert tries(rqflow, "b") == [("success", third)], "it had not run because of a, and was cleared with it"
    assert "bash_command" not in rqflow("task", "clear", "d@latest", "a", "--dry-run").err, "nothing is news any more"
