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
