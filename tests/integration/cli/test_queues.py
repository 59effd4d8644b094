"""`queue …` and `worker …` as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Rqflow
from tests.waiting import until

SOURCE = """
from rqflow import DAG, BashOperator
with DAG("d", schedule=None):
    BashOperator(task_id="a", bash_command="false") >> BashOperator(task_id="b", bash_command="true")
"""


def test_queues_and_workers_are_steered(rqflow: Rqflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQFLOW__SCHEDULER__IDLE_EXIT", "2s")
    monkeypatch.setenv("RQFLOW__WORKER__SHEPHERD_LINGER", "300ms")
    (tmp_path / "d.py").write_text(SOURCE)
    assert rqflow("submit", tmp_path / "d.py", "--run", "--run-id", "r1", "--follow").code == 1
    worker = json.loads(rqflow("worker", "list", "-o", "json").out)[0]["name"]
    assert json.loads(rqflow("worker", "show", worker[:-3], "-o", "json").out)["tasks"] == []
    paused = json.loads(rqflow("queue", "pause", "default", "-o", "json").out)
    assert (paused[0]["name"], paused[0]["failed"], paused[0]["paused_since"] is None) == ("default", 1, False)
    dry = rqflow("queue", "requeue-failed", "default", "--dry-run", "-o", "json")
    assert [(row["run_id"], row["task_id"], row["done"]) for row in json.loads(dry.out)] == [("r1", "a", False)]
    assert rqflow("queue", "requeue-failed", "default").code == 2
    assert rqflow("queue", "requeue-failed", "default", "--yes").code == 0
    assert "the queue default is paused since" in rqflow("why", "r1", "a").out
    asked = rqflow("queue", "empty", "default")
    assert (asked.code, "1 task of the queue default is cancelled: nobody can be asked" in asked.err) == (2, True)
    assert [row["task_id"] for row in json.loads(rqflow("queue", "empty", "default", "--yes", "-o", "json").out)] == ["a"]
    assert rqflow("queue", "resume", "default").err == "queue default gives work again\n"
    assert rqflow("worker", "pause", worker, "-o", "name").out == f"{worker}\n"
    assert rqflow("worker", "resume", worker).code == 0
    assert rqflow("worker", "drain", worker, "--wait", "--timeout", "20s").code == 0
    until(lambda: json.loads(rqflow("worker", "list", "-o", "json").out) == [], what="the worker to be gone")
