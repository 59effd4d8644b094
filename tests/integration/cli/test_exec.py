"""`run exec`: a command as a recorded run."""

from __future__ import annotations

import json

import pytest

from tests.integration.cli.conftest import Rqflow


def test_a_command_is_run_recorded_and_its_result_is_the_exit_code(rqflow: Rqflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQFLOW__SCHEDULER__IDLE_EXIT", "1s")
    monkeypatch.setenv("RQFLOW__WORKER__SHEPHERD_LINGER", "300ms")
    good = rqflow("run", "exec", "--follow", "--env", "X=5", "--cwd", "/", "--name", "greet", "--", "bash", "-c", 'echo "$X {{ ds }} from $PWD"')
    assert (good.code, "5 {{ ds }} from /\n" in good.out) == (0, True), good
    bad = rqflow("run", "exec", "--follow", "-o", "json", "bash", "-c", "exit 99")
    run = json.loads(bad.out)
    assert (bad.code, run["state"], run["tasks"][0]["reason"]) == (1, "failed", "exit code 99")
    assert rqflow("dag", "list", "-o", "name").out == "", "it is no DAG that people made"
    assert [one.split("__")[0] for one in rqflow("run", "list", "-o", "name").out.split()] == ["bash", "greet"]
    greeting = json.loads(rqflow("run", "list", "-o", "json").out)[1]
    assert greeting["dag_id"].startswith("run-exec.greet.")
    assert rqflow("run", "logs", greeting["run_id"]).out.startswith("5 {{ ds }} from /\n")
    assert rqflow("run", "exec").code == 2
