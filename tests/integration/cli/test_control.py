"""What the groups DAGs, Runs and Tasks have beside starting and listing: each with -o json and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.conftest import Rqflow
from tests.waiting import until

SOURCE = """
from datetime import datetime
from rqflow import DAG, BashOperator
with DAG("d", schedule=None, start_date=datetime(2026, 1, 1)):
    a = BashOperator(task_id="a", bash_command="printf 'one\\ntwo\\nthree\\n'")
    a >> BashOperator(task_id="b", bash_command="sleep 300") >> BashOperator(task_id="c", bash_command="true")
"""


@pytest.fixture(autouse=True)
def soon_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """What works in the background ends soon."""
    monkeypatch.setenv("RQFLOW__SCHEDULER__IDLE_EXIT", "1s")
    monkeypatch.setenv("RQFLOW__WORKER__SHEPHERD_LINGER", "300ms")
    monkeypatch.setenv("RQFLOW__WORKER__KILL_GRACE", "300ms")


def test_a_run_is_watched_killed_in_part_marked_and_noted(rqflow: Rqflow, tmp_path: Path) -> None:
    def rows(*words: object, code: int = 0) -> Any:
        result = rqflow(*words, "-o", "json")
        assert result.code == code, result
        return json.loads(result.out)

    (tmp_path / "d.py").write_text(SOURCE)
    assert rqflow("submit", tmp_path / "d.py", "--run", "--run-id", "r", "--no-follow").code == 0
    until(lambda: {row["task_id"]: row["state"] for row in rows("task", "list", "r")}["b"] == "running", what="b to run")
    assert [row["task_id"] for row in rows("task", "list", "r", "--state", "running")] == ["b"]
    assert rqflow("run", "watch", "r", "--timeout", "300ms").code == 124
    assert rqflow("task", "clear", "r", "b", "--yes").code == 5
    assert rqflow("task", "clear", "r", "nope", "--yes").code == 3
    assert rows("task", "kill", "r", "b") == [{"dag_id": "d", "run_id": "r", "task_id": "b", "state": "running"}]
    assert rows("run", "wait", "r", code=1) == [{"dag_id": "d", "run_id": "r", "state": "cancelled"}]
    assert rows("run", "watch", "r", code=1)["state"] == "cancelled"
    assert "has ended" in rqflow("task", "kill", "r", "b").err
    assert rqflow("task", "kill", "r", "b").code == 5
    assert rqflow("run", "cancel", "r").code == 5
    assert [(row["task_id"], row["done"]) for row in rows("run", "mark", "r", "success", "--yes")] == [("b", True), ("c", True)]
    assert rows("run", "wait", "r")[0]["state"] == "success"
    assert rows("run", "mark", "r", "success", "--yes") == []
    assert rqflow("run", "note", "r", "looked at").code == 0
    assert rows("run", "note", "r") == [{"dag_id": "d", "run_id": "r", "note": "looked at"}]
    assert rqflow("run", "note", "r", "x" * 1_000_000).code == 2
    assert rqflow("run", "note", "r").out == "looked at\n"
    assert [row["run_id"] for row in rows("run", "list", "--trigger", "manual")] == ["r"]
    assert rows("run", "list", "--trigger", "scheduled") == []
    assert rqflow("task", "logs", "r", "a", "--head", "1").out == "one\n"
    assert [row["task_id"] for row in rows("run", "show", "r", "--tasks")] == ["a", "b", "c"]
    assert rows("task", "show", "r", "a", "--try", "1")["exit_code"] == 0
    assert rqflow("task", "show", "r", "a", "--try", "7").code == 3
    assert rqflow("task", "logs", "r", "a", "--grep", "tw").out == "two\n"
    assert rqflow("task", "logs", "r", "a", "--grep", "four").code == 1
    assert "[success] <- b" in rqflow("dag", "graph", "d", "--run", "r").out


def test_a_run_is_only_tried_out_with_params_of_a_file(rqflow: Rqflow, tmp_path: Path) -> None:
    file, params = tmp_path / "d.py", tmp_path / "p.json"
    file.write_text(SOURCE.replace("schedule=None", "schedule=None, params={'n': 1, 'city': 'x'}").replace("printf 'one", "echo {{ params.n }}; printf 'one"))
    params.write_text('{"n": 2, "city": "Bern"}')
    assert "echo 7" in rqflow("task", "render", file, "a", "-p", "n=7").out
    assert rqflow("submit", file).code == 0
    tried = rqflow("run", "start", "d", "--params-file", params, "-p", "n=3", "--dry-run", "-o", "json")
    assert json.loads(tried.out)["params"] == {"n": 3, "city": "Bern"}
    assert rqflow("run", "list", "-o", "name").out == ""
    assert rqflow("run", "start", "d", "--params-file", tmp_path / "absent").code == 2


def test_dags_are_shown_and_paused(rqflow: Rqflow, tmp_path: Path) -> None:
    file = tmp_path / "d.py"
    file.write_text(SOURCE)
    assert rqflow("dag", "graph", file).out == "a\n  b  <- a\n    c  <- b\n"
    assert rqflow("dag", "graph", file, "--format", "dot", "-O", tmp_path / "d.dot").code == 0
    assert (tmp_path / "d.dot").read_text().startswith("digraph")
    assert rqflow("dag", "graph", file, "-O", tmp_path / "no" / "d.dot").code == 2
    assert rqflow("dag", "graph", "nope").code == 3
    assert rqflow("submit", file).code == 0
    file.write_text(SOURCE.replace('"true"', '"echo"'))
    assert rqflow("submit", file).code == 0
    shown = json.loads(rqflow("dag", "show", "d", "--version", "1", "-o", "json").out)
    assert shown["tasks"][2]["fields"]["bash_command"] == "true"
    assert "\n    c" in rqflow("dag", "show", "d", "--tree").out
    assert rqflow("dag", "show", "d", "--version", "9").code == 3
    assert rqflow("dag", "show", file, "--version", "1").code == 2
    assert json.loads(rqflow("dag", "pause", "d", "-o", "json").out) == [{"dag_id": "d", "is_paused": True, "changed": True}]
    assert rqflow("dag", "list", "--paused", "-o", "name").out == "d\n"
    assert rqflow("dag", "list", "--active", "-o", "name").out == ""
    assert json.loads(rqflow("dag", "unpause", "--all", "-o", "json").out)[0]["changed"]
    assert rqflow("dag", "pause").code == 2
