"""What people do to runs, DAGs, queues and workers at the command line, on one home: each with -o json and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rqflow.cli.main import main
from tests.integration.cli.conftest import Result, Rqflow, end_all
from tests.waiting import until

#: The first waits for 300 seconds, the second fails, the third is soon done.
SOURCE = """
from datetime import datetime
from rqflow import DAG, BashOperator
with DAG("d", schedule=None, start_date=datetime(2026, 1, 1), params={"n": 1, "city": "x"}):
    a = BashOperator(task_id="a", bash_command="echo {{ params.n }} >/dev/null; printf 'one\\ntwo\\nthree\\n'")
    a >> BashOperator(task_id="b", bash_command="sleep 300") >> BashOperator(task_id="c", bash_command="true")
with DAG("bad", schedule=None):
    BashOperator(task_id="a", bash_command="false")
with DAG("one", schedule=None, start_date=datetime(2026, 1, 1)):
    BashOperator(task_id="a", bash_command="true") >> BashOperator(task_id="b", bash_command="true")
"""


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home for all tests of this file, in which what works in the background goes on from one to the next; each has DAGs of its own."""
    path = tmp_path_factory.mktemp("common")
    (path / "home").mkdir()
    (path / "d.py").write_text(SOURCE)
    yield path
    end_all(path / "home")


@pytest.fixture
def rqflow(common: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Rqflow:
    """Calls the command line with that home."""
    for name, value in {"SHEPHERD_LINGER": "300ms", "KILL_GRACE": "300ms"}.items():
        monkeypatch.setenv(f"RQFLOW__WORKER__{name}", value)

    def call(*words: object) -> Result:
        code = main(["--home", str(common / "home"), *map(str, words)])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    assert call("submit", common / "d.py", "--no-follow").code == 0
    return call


#: A DAG that is submitted twice, and never run.
PICTURE = """
from rqflow import DAG, BashOperator
with DAG("picture", schedule=None):
    a = BashOperator(task_id="a", bash_command="true")
    a >> BashOperator(task_id="b", bash_command="true") >> BashOperator(task_id="c", bash_command="true")
"""


def test_dags_are_shown_and_paused(rqflow: Rqflow, tmp_path: Path) -> None:
    file = tmp_path / "d.py"
    file.write_text(PICTURE)
    assert rqflow("dag", "graph", file).out == "a\n  b  <- a\n    c  <- b\n"
    assert rqflow("dag", "graph", file, "--format", "dot", "-O", tmp_path / "d.dot").code == 0
    assert (tmp_path / "d.dot").read_text().startswith("digraph")
    assert rqflow("dag", "graph", file, "-O", tmp_path / "no" / "d.dot").code == 2
    assert rqflow("dag", "graph", "nope").code == 3
    assert rqflow("submit", file).code == 0
    file.write_text(PICTURE.replace('"true"', '"echo"'))
    assert rqflow("submit", file).code == 0
    shown = json.loads(rqflow("dag", "show", "picture", "--version", "1", "-o", "json").out)
    assert shown["tasks"][2]["fields"]["bash_command"] == "true"
    assert "\n    c" in rqflow("dag", "show", "picture", "--tree").out
    assert rqflow("dag", "show", "picture", "--version", "9").code == 3
    assert rqflow("dag", "show", file, "--version", "1").code == 2
    file.unlink()
    assert rqflow("dag", "source", "picture", "--version", "1").out == PICTURE
    assert rqflow("dag", "source", "picture").out == PICTURE.replace('"true"', '"echo"')
    changes = rqflow("dag", "source", "picture", "--diff", "1", "2").out.splitlines()
    assert changes[:2] == ["--- d.py (version 1)", "+++ d.py (version 2)"]
    assert '+    a = BashOperator(task_id="a", bash_command="echo")' in changes
    assert rqflow("dag", "source", "picture", "--diff", "1", "1").out == ""
    assert [rqflow("dag", "source", *words).code for words in (("nope",), ("picture", "--version", "9"), ("picture", "--diff", "1", "9"))] == [3, 3, 3]
    assert rqflow("dag", "source", "picture", "--version", "1", "--diff", "1", "2").code == 2
    assert json.loads(rqflow("dag", "pause", "picture", "-o", "json").out) == [{"dag_id": "picture", "is_paused": True, "changed": True}]
    assert rqflow("dag", "list", "--paused", "-o", "name").out == "picture\n"
    assert "picture" not in rqflow("dag", "list", "--active", "-o", "name").out
    assert json.loads(rqflow("dag", "unpause", "--all", "-o", "json").out)[-1]["changed"]
    assert rqflow("dag", "pause").code == 2


def test_a_run_is_only_tried_out_with_params_of_a_file(rqflow: Rqflow, common: Path, tmp_path: Path) -> None:
    params = tmp_path / "p.json"
    params.write_text('{"n": 2, "city": "Bern"}')
    assert "echo 7" in rqflow("task", "render", common / "d.py", "a", "--dag", "d", "-p", "n=7").out
    tried = rqflow("run", "start", "d", "--run-id", "tried", "--params-file", params, "-p", "n=3", "--dry-run", "-o", "json")
    assert json.loads(tried.out)["params"] == {"n": 3, "city": "Bern"}
    assert rqflow("run", "show", "tried").code == 3
    assert rqflow("run", "start", "d", "--params-file", tmp_path / "absent").code == 2


def test_a_run_is_watched_killed_in_part_marked_and_noted(rqflow: Rqflow) -> None:
    def rows(*words: object, code: int = 0) -> Any:
        result = rqflow(*words, "-o", "json")
        assert result.code == code, result
        return json.loads(result.out)

    assert rqflow("run", "start", "d", "--run-id", "r").code == 0
    until(lambda: {row["task_id"]: row["state"] for row in rows("task", "list", "r")}["b"] == "running", what="b to run")
    assert [row["task_id"] for row in rows("task", "list", "r", "--state", "running")] == ["b"]
    assert rqflow("run", "watch", "r", "--timeout", "300ms").code == 124
    assert rqflow("run", "logs", "r", "-f", "--failed").code == 2
    assert rqflow("task", "clear", "r", "b", "--yes").code == 5
    assert rqflow("task", "clear", "r", "nope", "--yes").code == 3
    assert rows("task", "kill", "r", "b") == [{"dag_id": "d", "run_id": "r", "task_id": "b", "state": "running"}]
    assert rows("run", "wait", "r", code=1) == [{"dag_id": "d", "run_id": "r", "state": "cancelled"}]
    assert rows("run", "watch", "r", code=1)["state"] == "cancelled"
    followed = rqflow("run", "logs", "r", "-f")
    assert ("one\ntwo\nthree\n" in followed.out, followed.err.splitlines()[:1]) == (True, ["==> a, try 1 <=="])
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
    assert [row["run_id"] for row in rows("run", "list", "--dag", "d", "--trigger", "manual")] == ["r"]
    assert rows("run", "list", "--dag", "d", "--trigger", "scheduled") == []
    assert rqflow("task", "logs", "r", "a", "--head", "1").out == "one\n"
    assert [row["task_id"] for row in rows("run", "show", "r", "--tasks")] == ["a", "b", "c"]
    assert rows("task", "show", "r", "a", "--try", "1")["exit_code"] == 0
    assert rqflow("task", "show", "r", "a", "--try", "7").code == 3
    assert rqflow("task", "logs", "r", "a", "--grep", "tw").out == "two\n"
    assert rqflow("task", "logs", "r", "a", "--grep", "four").code == 1
    assert "[success] <- b" in rqflow("dag", "graph", "d", "--run", "r").out


def test_a_command_is_run_recorded_and_its_result_is_the_exit_code(rqflow: Rqflow) -> None:
    good = rqflow("run", "exec", "--follow", "--env", "X=5", "--cwd", "/", "--name", "greet", "--", "bash", "-c", 'echo "$X {{ ds }} from $PWD"')
    assert (good.code, "5 {{ ds }} from /\n" in good.out) == (0, True), good
    bad = rqflow("run", "exec", "--follow", "-o", "json", "bash", "-c", "exit 99")
    run = json.loads(bad.out)
    assert (bad.code, run["state"], run["tasks"][0]["reason"]) == (1, "failed", "exit code 99")
    assert "run-exec" not in rqflow("dag", "list", "-o", "name").out, "it is no DAG that people made"
    assert [one.split("__")[0] for one in rqflow("run", "list", "-L", "2", "-o", "name").out.split()] == ["bash", "greet"]
    greeting = json.loads(rqflow("run", "list", "-L", "2", "-o", "json").out)[1]
    assert greeting["dag_id"].startswith("run-exec.greet.")
    assert rqflow("run", "logs", greeting["run_id"]).out.startswith("5 {{ ds }} from /\n")
    assert rqflow("run", "exec").code == 2


def test_queues_and_workers_are_steered(rqflow: Rqflow) -> None:
    assert rqflow("run", "start", "bad", "--run-id", "b1", "--watch").code == 1
    assert rqflow("why", "b1").err == "each task of this run has ended\n"
    worker = json.loads(rqflow("worker", "list", "-o", "json").out)[0]["name"]
    assert json.loads(rqflow("worker", "show", worker[:-3], "-o", "json").out)["tasks"] == []
    paused = json.loads(rqflow("queue", "pause", "default", "-o", "json").out)
    assert (paused[0]["name"], paused[0]["failed"] >= 1, paused[0]["paused_since"] is None) == ("default", True, False)
    dry = rqflow("queue", "requeue-failed", "default", "--dry-run", "-o", "json")
    assert ("b1", "a", False) in [(row["run_id"], row["task_id"], row["done"]) for row in json.loads(dry.out)]
    assert rqflow("queue", "requeue-failed", "default").code == 2
    assert rqflow("queue", "requeue-failed", "default", "--yes").code == 0
    assert "the queue default is paused since" in rqflow("why", "b1", "a").out
    assert rqflow("why", "b1").out.splitlines()[1].startswith("a     queued  the queue default is paused since")
    asked = rqflow("queue", "empty", "default")
    assert (asked.code, "cancelled: nobody can be asked" in asked.err) == (2, True)
    assert ("b1", "a") in [(row["run_id"], row["task_id"]) for row in json.loads(rqflow("queue", "empty", "default", "--yes", "-o", "json").out)]
    assert rqflow("queue", "resume", "default").err == "queue default gives work again\n"
    assert rqflow("worker", "pause", worker, "-o", "name").out == f"{worker}\n"
    assert rqflow("worker", "resume", worker).code == 0
    assert rqflow("worker", "drain", worker, "--wait", "--timeout", "20s").code == 0
    until(lambda: json.loads(rqflow("worker", "list", "-o", "json").out) == [], what="the worker to be gone")


def test_runs_are_steered_by_date_with_airflows_commands(rqflow: Rqflow, common: Path) -> None:
    file = common / "d.py"
    started = rqflow("trigger_dag", "one", "-r", "old1", "-c", '{"k": 5}', "-e", "2026-01-02", "-sd", file, "-o", "name")
    assert (started.code, started.out) == (0, "old1\n")
    assert rqflow("run", "wait", "old1").code == 0
    assert rqflow("dag_state", "one", "2026-01-02").out == "success\n"
    assert rqflow("task_state", "one", "a", "2026-01-02", "-sd", file).out == "success\n"
    assert rqflow("dag_state", "one", "2026-01-03").out == "None\n"
    assert rqflow("dag_state", "nope", "2026-01-03").code == 3
    assert rqflow("task_state", "one", "nope", "2026-01-02").code == 3
    assert json.loads(rqflow("task_failed_deps", "one", "a", "2026-01-02", "-o", "json").out)["state"] == "success"
    asked = rqflow("clear", "one", "-t", "^a$", "-d", "-s", "2026-01-01", "-e", "2026-01-05")
    assert (asked.code, "one old1: a (success), b (success)\n" in asked.err) == (2, True), asked
    assert "none is in such a state" in rqflow("clear", "one", "-f", "-c").err
    assert "none is in such a state" in rqflow("clear", "one", "-r", "-x", "-c").err
    cleared = rqflow("clear", "one", "-t", "^b", "-u", "-c", "-o", "json")
    assert [(row["task_id"], row["done"]) for row in json.loads(cleared.out)] == [("a", True), ("b", True)]
    assert rqflow("run", "wait", "old1").code == 0
    assert [len(task["tries"]) for task in json.loads(rqflow("run", "show", "old1", "-o", "json").out)["tasks"]] == [2, 2]
    assert rqflow("run", "one", "b", "2026-01-02", "-m").code == 0
    assert rqflow("pause", "one", "-sd", file).code == rqflow("unpause", "one").code == 0
    assert rqflow("delete_dag", "one").code == 2
    assert rqflow("delete_dag", "one", "-y").code == 0
    assert "one" not in rqflow("list_dags", "-o", "name").out.split()


def test_a_dag_is_deleted_with_its_runs_and_comes_back_by_submit(rqflow: Rqflow, common: Path) -> None:
    for name in ("x1", "x2", "x3"):
        assert rqflow("run", "start", "d", "--run-id", name).code == 0
    assert rqflow("run", "delete", "x1", "nope", "--yes").code == 3
    gone = rqflow("run", "delete", "x1", "x2", "x1", "--yes", "-o", "json")
    assert [(row["run_id"], row["is_gone"]) for row in json.loads(gone.out)] == [("x1", True), ("x2", True)]
    asked = rqflow("dag", "delete", "d")
    assert asked.code == 2
    assert "and their logs; x3 has not ended, and is cancelled: nobody can be asked\nAdd --yes." in asked.err
    assert "x3" in rqflow("run", "list", "--dag", "d", "-o", "name").out.split(), "nothing has happened"
    gone = rqflow("dag", "delete", "d", "--yes", "-o", "json")
    assert (gone.code, json.loads(gone.out)) == (0, [{"dag_id": "d", "run_id": "", "is_gone": True}])
    assert "d" not in rqflow("dag", "list", "-o", "name").out.split()
    assert json.loads(rqflow("run", "list", "--dag", "d", "-o", "json").out) == []
    assert rqflow("run", "start", "d").code == 3
    assert rqflow("run", "delete", "x3", "--yes").code == 3
    assert rqflow("submit", common / "d.py").code == 0
    assert "d" in rqflow("dag", "list", "-o", "name").out.split()
