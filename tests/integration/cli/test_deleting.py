"""`dag delete` and `run delete` as a person types them, on the embedded default."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Rqflow

SOURCE = """
from rqflow import DAG, BashOperator
with DAG("d", schedule=None):
    BashOperator(task_id="a", bash_command="sleep {{ params.seconds }}", params={"seconds": 0})
"""


@pytest.fixture(autouse=True)
def soon_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """What works in the background ends soon."""
    for name in ("SCHEDULER__IDLE_EXIT", "WORKER__SHEPHERD_LINGER", "WORKER__KILL_GRACE"):
        monkeypatch.setenv(f"RQFLOW__{name}", "300ms")


def test_a_dag_is_deleted_with_a_run_that_runs_and_comes_back_by_submit(rqflow: Rqflow, tmp_path: Path) -> None:
    file = tmp_path / "d.py"
    file.write_text(SOURCE)
    assert rqflow("submit", file, "--run", "--run-id", "r", "-p", "seconds=300", "--no-follow").code == 0
    asked = rqflow("dag", "delete", "d")
    assert asked.code == 2
    assert "DAG d goes with its 1 run and their logs; r has not ended, and is cancelled: nobody can be asked\nAdd --yes." in asked.err
    assert "r" in rqflow("run", "list", "-o", "name").out, "nothing has happened"
    gone = rqflow("dag", "delete", "d", "--yes", "-o", "json")
    assert (gone.code, json.loads(gone.out)) == (0, [{"dag_id": "d", "run_id": "", "is_gone": True}])
    assert json.loads(rqflow("dag", "list", "-o", "json").out) == []
    assert json.loads(rqflow("run", "list", "-o", "json").out) == []
    assert rqflow("run", "start", "d").code == 3
    assert rqflow("run", "delete", "r", "--yes").code == 3
    assert rqflow("submit", file).code == 0
    assert rqflow("dag", "list", "-o", "name").out == "d\n"


def test_runs_are_deleted_by_name(rqflow: Rqflow, tmp_path: Path) -> None:
    file = tmp_path / "d.py"
    file.write_text(SOURCE)
    for name in ("one", "two", "three"):
        assert rqflow("submit", file, "--run", "--run-id", name, "--no-follow").code == 0
    assert rqflow("run", "delete", "one", "nope", "--yes").code == 3
    assert rqflow("run", "delete", "one", "two", "one", "--yes").code == 0
    assert rqflow("run", "list", "-o", "name").out == "three\n"
