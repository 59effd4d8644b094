"""Airflow 1.7's commands with its options, and what they become."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Rqflow

SOURCE = """
from datetime import datetime
from rqflow import DAG, BashOperator
for name in ("one", "two"):
    with DAG(name, schedule=None, start_date=datetime(2026, 1, 1), params={"n": 1}):
        a = BashOperator(task_id="a", bash_command="echo {{ params.n }} {{ ds }}")
        a >> BashOperator(task_id="b", bash_command="true")
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the DAGs one and two; what works in the background ends soon."""
    monkeypatch.setenv("RQFLOW__SCHEDULER__IDLE_EXIT", "300ms")
    monkeypatch.setenv("RQFLOW__WORKER__SHEPHERD_LINGER", "300ms")
    (tmp_path / "files").mkdir()
    path = tmp_path / "files" / "d.py"
    path.write_text(SOURCE)
    return path


def test_files_are_read_with_sd(rqflow: Rqflow, file: Path, home: Path) -> None:
    assert rqflow("list_dags", "-sd", file.parent, "-o", "name").out == "one\ntwo\n"
    report = json.loads(rqflow("list_dags", "-r", "-sd", file, "-o", "json").out)
    assert [(row["dag_id"], row["tasks"]) for row in report] == [("one", 2), ("two", 2)]
    listed = rqflow("list_tasks", "two", "-t", "-sd", file)
    assert "\na" in listed.out
    assert "\n  b" in listed.out
    assert listed.err.startswith("`rqflow list_tasks` is now `rqflow task list`\n")
    assert "echo 1 2026-01-02" in rqflow("render", "one", "a", "2026-01-02", "-sd", file).out
    assert "echo 1 2026-01-02" in rqflow("test", "one", "a", "2026-01-02", "-dr", "-sd", file.parent).out
    tried = rqflow("test", "one", "a", "2026-01-02", "-tp", '{"n": 7}', "-sd", file)
    assert (tried.code, "7 2026-01-02" in tried.out) == (0, True)
    assert "1 2026-01-02" in rqflow("run", "-f", "-A", "-l", "two", "a", "2026-01-02", "-sd", file).out
    assert rqflow("render", "three", "a", "2026-01-02", "-sd", file.parent).code == 3
    assert rqflow("test", "one", "a", "2026-01-02", "-tp", "[]", "-sd", file).code == 2
    assert rqflow("list_dags", "-r").code == 2
    assert list(home.iterdir()) == [], "nothing of it needs a service"


def test_runs_are_steered_by_date(rqflow: Rqflow, file: Path) -> None:
    assert rqflow("submit", file).code == 0
    started = rqflow("trigger_dag", "one", "-r", "r1", "-c", '{"n": 5}', "-e", "2026-01-02", "-sd", file, "-o", "name")
    assert (started.code, started.out) == (0, "r1\n")
    assert rqflow("run", "wait", "r1").code == 0
    assert rqflow("dag_state", "one", "2026-01-02").out == "success\n"
    assert rqflow("task_state", "one", "a", "2026-01-02", "-sd", file).out == "success\n"
    assert rqflow("dag_state", "one", "2026-01-03").out == "None\n"
    assert rqflow("dag_state", "nope", "2026-01-03").code == 3
    assert rqflow("task_state", "one", "nope", "2026-01-02").code == 3
    assert json.loads(rqflow("task_failed_deps", "one", "a", "2026-01-02", "-o", "json").out)["state"] == "success"
    asked = rqflow("clear", "one", "-t", "^a$", "-d", "-s", "2026-01-01", "-e", "2026-01-05")
    assert (asked.code, "one r1: a (success), b (success)\n" in asked.err) == (2, True), asked
    assert "none is in such a state" in rqflow("clear", "one", "-f", "-c").err
    assert "none is in such a state" in rqflow("clear", "one", "-r", "-x", "-c").err
    cleared = rqflow("clear", "one", "-t", "^b", "-u", "-c", "-o", "json")
    assert [(row["task_id"], row["done"]) for row in json.loads(cleared.out)] == [("a", True), ("b", True)]
    assert rqflow("run", "wait", "r1").code == 0
    assert [len(task["tries"]) for task in json.loads(rqflow("run", "show", "r1", "-o", "json").out)["tasks"]] == [2, 2]
    assert rqflow("run", "one", "b", "2026-01-02", "-m").code == 0
    assert rqflow("pause", "one", "-sd", file).code == rqflow("unpause", "one").code == 0
    assert rqflow("delete_dag", "one").code == 2
    assert rqflow("delete_dag", "one", "-y").code == 0
    assert rqflow("list_dags", "-o", "name").out == "two\n"
