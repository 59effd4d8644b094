"""What the options of the commands that list, show and try things do. Redis is a server's, so that nothing is started beside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import redis

from rqflow.broker import keys, status
from rqflow.cli import trying
from tests.integration.cli.conftest import Result, Rqflow
from tests.profile import ENVIRON

HEAD = "from rqflow import DAG, BashOperator\n"
TWO = HEAD + """
with DAG("two", schedule=None, tags=["x", "y"], default_args={"owner": "ann"}, description="Sorts reads"):
    BashOperator(task_id="a", bash_command="echo one; exit $((2 - $RQFLOW_TRY))", retries=1, retry_delay=0) >> BashOperator(task_id="b", bash_command="pwd")
"""
ONE = HEAD + """
with DAG("one", schedule=None, tags=["y"]):
    BashOperator(task_id="a", bash_command="true", worker_labels=["gpu"])
"""
WARNS = """
from airflow import DAG
from airflow.operators.bash import BashOperator
with DAG("w", schedule=None, nonsense=1):
    BashOperator(task_id="a", bash_command="true")
"""


@pytest.fixture(autouse=True)
def server(db: redis.Redis, redis_url: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**ENVIRON, "RQFLOW_HOME": str(home), "RQFLOW__REDIS__URL": redis_url}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    for name, text in {"two.py": TWO, "one.py": ONE}.items():
        (folder / name).write_text(text)
    return folder


def names(result: Result) -> list[str]:
    assert result.code == 0, result
    return result.out.split()


def read(result: Result) -> Any:
    assert result.code == 0, result
    return json.loads(result.out)


@pytest.mark.parametrize(("options", "found"), [
    ((), ["one", "two"]), (("--tag", "y"), ["one", "two"]), (("--tag", "y", "--tag", "x"), ["two"]), (("--owner", "ann"), ["two"]),
    (("--search", "reads"), ["two"]), (("--search", "on"), ["one"]),
])
def test_dags_are_chosen(options: tuple[str, ...], found: list[str], rqflow: Rqflow, files: Path) -> None:
    rqflow("submit", files)
    assert names(rqflow("dag", "list", "-o", "name", *options)) == found


def test_runs_are_chosen(rqflow: Rqflow, files: Path) -> None:
    for number in range(3):
        rqflow("submit", files / "two.py", "--run", "--no-follow", "--run-id", f"r{number}", "--note", f"number {number}")
    rqflow("submit", files / "one.py", "--run", "--no-follow", "--run-id", "other")
    rqflow("run", "cancel", "r1")
    assert names(rqflow("run", "list", "-o", "name")) == ["other", "r2", "r1", "r0"]
    states = [run["state"] for run in read(rqflow("run", "list", "-o", "json"))]
    assert states == ["running", "running", "cancelled", "running"], "as Redis has them, though no hub has recorded anything yet"
    assert names(rqflow("run", "list", "-o", "name", "-L", 2)) == ["other", "r2"]
    assert names(rqflow("run", "list", "-o", "name", "-L", 2, "--all")) == ["other", "r2", "r1", "r0"]
    assert names(rqflow("run", "list", "-o", "name", "--dag", "two")) == ["r2", "r1", "r0"]
    assert names(rqflow("run", "list", "-o", "name", "--since", "1h")) == ["other", "r2", "r1", "r0"]
    assert names(rqflow("run", "list", "-o", "name", "--until", "1h")) == []
    assert [run["note"] for run in read(rqflow("run", "list", "-o", "json", "--dag", "two"))] == ["number 2", "number 1", "number 0"]


def test_the_state_of_a_run_is_an_exit_code_on_demand(rqflow: Rqflow, files: Path) -> None:
    rqflow("submit", files / "two.py", "--run", "--no-follow", "--run-id", "r")
    assert rqflow("run", "show", "r").code == 0
    assert rqflow("run", "show", "r", "--exit-status").code == 8
    rqflow("run", "cancel", "r")
    assert rqflow("run", "show", "r", "--exit-status").code == 1


def test_one_run_that_has_ended_keeps_no_other_from_being_cancelled(rqflow: Rqflow, files: Path) -> None:
    for name in ("r1", "r2", "r3"):
        rqflow("submit", files / "two.py", "--run", "--no-follow", "--run-id", name)
    rqflow("run", "cancel", "r1")
    code, _, said = rqflow("run", "cancel", "r1", "r2", "r3")
    assert (code, said.splitlines()[0]) == (5, "rqflow: run r1 of two has ended: cancelled")
    assert {run["state"] for run in read(rqflow("run", "list", "-o", "json"))} == {"cancelled"}


def test_a_mistyped_run_keeps_all_from_being_cancelled(rqflow: Rqflow, files: Path) -> None:
    rqflow("submit", files / "two.py", "--run", "--no-follow", "--run-id", "r1")
    assert rqflow("run", "cancel", "r1", "nope").code == 3
    assert read(rqflow("run", "list", "-o", "json"))[0]["state"] == "running"


def test_a_run_that_redis_has_lost_cannot_be_cancelled(rqflow: Rqflow, db: redis.Redis, files: Path) -> None:
    rqflow("submit", files / "two.py", "--run", "--no-follow", "--run-id", "r1")
    db.flushall()
    code, _, said = rqflow("run", "cancel", "r1")
    assert (code, "Redis does not hold run r1 of two" in said, "submit FILE --run" in said) == (5, True, True), said
    assert read(rqflow("run", "list", "-o", "json"))[0]["state"] == "queued"


def test_a_run_whose_start_was_broken_off_cannot_be_cancelled_yet(rqflow: Rqflow, db: redis.Redis, files: Path) -> None:
    rqflow("submit", files / "two.py", "--run", "--no-follow", "--run-id", "r1")
    db.hdel(keys.RUN + read(rqflow("run", "show", "r1", "-o", "json"))["run_key"], "state")
    code, _, said = rqflow("run", "cancel", "r1")
    assert (code, "its start was broken off" in said, "rqflow scheduler" in said) == (5, True, True), said


def test_waiting_for_any_of_some_runs_ends_with_the_first(rqflow: Rqflow, files: Path) -> None:
    rqflow("submit", files / "two.py", "--run", "--no-follow", "--run-id", "r")
    rqflow("submit", files / "one.py", "--run", "--no-follow", "--run-id", "other")
    rqflow("run", "cancel", "other")
    assert rqflow("run", "wait", "r", "other", "--any")[:2] == (1, "other cancelled\n")
    assert rqflow("run", "wait", "r", "other", "--timeout", "200ms").code == 124


def test_a_logical_date_outside_the_dag_s_dates_is_warned_of(rqflow: Rqflow, files: Path) -> None:
    (files / "one.py").write_text(ONE.replace("schedule=None", "schedule=None, start_date=datetime(2026, 1, 1)").replace(
        HEAD, HEAD + "from datetime import datetime\n"))
    code, _, said = rqflow("submit", files / "one.py", "--run", "--no-follow", "--at", "2025-12-31")
    assert (code, "warning: one: no task of it is run: the logical date 2025-12-31" in said) == (0, True), said


def test_the_schedule_is_put_into_words_for_people(rqflow: Rqflow, files: Path) -> None:
    (files / "one.py").write_text(ONE.replace("schedule=None", "schedule=timedelta(hours=6)").replace(
        HEAD, HEAD + "from datetime import timedelta\n"))
    assert "schedule every 6h" in rqflow("submit", files / "one.py").err
    assert "every 6h" in rqflow("dag", "list").out
    assert "every 6h" in rqflow("dag", "show", "one").out
    assert read(rqflow("dag", "list", "-o", "json"))[0]["schedule"] == "timedelta:21600"


def test_a_heartbeat_is_shown_as_all_times_are(rqflow: Rqflow, db: redis.Redis) -> None:
    db.sadd(keys.RQ_WORKERS, f"{keys.RQ_WORKER}w")
    db.hset(f"{keys.RQ_WORKER}w", mapping={"hostname": "elsewhere", "last_heartbeat": "2026-11-23T08:00:00.000005Z"})
    assert read(rqflow("worker", "list", "-o", "json"))[0]["last_heartbeat"] == "2026-11-23T08:00:00.000005+00:00"
    assert "2026-11-23T17:00:00+09:00" in rqflow("--tz", "Asia/Tokyo", "worker", "list", "-o", "wide").out


def test_a_worker_ends_after_as_many_tasks_as_it_was_told_and_runs_what_its_labels_fit(rqflow: Rqflow, files: Path) -> None:
    rqflow("submit", files / "one.py", "--run", "--no-follow", "--run-id", "other")
    rqflow("submit", files / "one.py", "--run", "--no-follow", "--run-id", "another")
    assert rqflow("scheduler", "--once").code == 0
    assert rqflow("worker", "--burst").code == 0
    assert read(rqflow("run", "show", "other", "-o", "json"))["tasks"][0]["state"] == "parked"
    assert rqflow("worker", "--label", "gpu", "-n", 1, "--max-tasks", 1, "-Q", "x,default").code == 0
    states = [read(rqflow("run", "show", name, "-o", "json"))["state"] for name in ("other", "another")]
    assert sorted(states) == ["running", "success"]


def test_tasks_are_listed_as_a_tree(rqflow: Rqflow, files: Path) -> None:
    assert [line.split("  Bash")[0].rstrip() for line in rqflow("task", "list", files / "two.py", "--tree").out.splitlines()[1:]] == ["a", "  b"]


def test_airflow_s_words_for_one_try_and_for_the_tree_are_understood(rqflow: Rqflow, files: Path) -> None:
    code, out, said = rqflow("run", files / "one.py", "a", "2026-01-05")
    assert (code, said.splitlines()) == (0, ["`rqflow run` is now `rqflow task test`", "a: success"]), out
    assert rqflow("run", files / "two.py", "a", "2026-01-05", "--exit-code").code == 1
    assert rqflow("list_tasks", files / "two.py", "-t").out == rqflow("task", "list", files / "two.py", "--tree").out
    for words in (("hello", "greet"), ("cancle", "r1", "r2")):
        assert "No such command" in rqflow("run", *words).err


def test_a_trial_takes_some_tasks_and_keeps_their_folders(rqflow: Rqflow, files: Path) -> None:
    result = rqflow("dag", "test", files / "two.py", "--task", "b", "--keep-workdir", "-o", "name")
    assert names(result) == ["b"]
    folder = Path(result.err.split("are kept in ")[1].strip())
    assert str(folder) in result.err.splitlines()[0]
    assert folder.is_dir()
    rows = read(rqflow("dag", "test", files / "two.py", "-o", "json", "--fields", ",".join(trying.FIELDS)))
    assert [row["tries"] for row in rows] == ["2/2", "1/1"]


def test_problems_are_written_for_people_programs_and_github(rqflow: Rqflow, files: Path) -> None:
    bad, warns = files / "bad.py", files / "warns.py"
    bad.write_text(HEAD + "oops\n")
    warns.write_text(WARNS)
    said = rqflow("dag", "validate", bad)
    assert (said.code, said.out.startswith(f"{bad}:2: NameError")) == (6, True)
    assert rqflow("dag", "validate", bad, "--format", "github").out.startswith(f"::error file={bad},line=2::NameError")
    report, = json.loads(rqflow("dag", "validate", bad, "--format", "json").out)
    assert (report["file"], report["dags"], len(report["errors"]), report["warnings"]) == (str(bad), [], 1, [])
    assert rqflow("dag", "validate", warns).code == 0
    assert rqflow("dag", "validate", warns, "--strict").code == 6
    assert rqflow("dag", "validate", warns, "--format", "github").out.startswith(f"::warning file={warns},line=4::")
    code, _, said = rqflow("submit", warns, "--strict")
    assert (code, said.count("nonsense")) == (6, 1)


def test_the_good_dags_of_a_file_are_shown_beside_its_errors(rqflow: Rqflow, files: Path) -> None:
    (files / "one.py").write_text(ONE + ONE.removeprefix(HEAD).replace('"one"', '"bad"').replace('"true"', '"echo {{ nope }}"'))
    code, out, _ = rqflow("dag", "show", files / "one.py", "-o", "json")
    shown = json.loads(out)
    assert (code, [dag["dag_id"] for dag in shown["dags"]], len(shown["errors"])) == (6, ["one"], 1)
    code, out, said = rqflow("dag", "show", files / "one.py")
    assert (code, "dag_id" in out, "nope" in said) == (6, True, True)


def test_colours_are_forced_and_forbidden(rqflow: Rqflow) -> None:
    assert "\x1b[" in rqflow("--color", "always", "pool", "list").out
    assert "\x1b[" not in rqflow("--color", "never", "pool", "list").out


def test_submit_gives_a_redis_that_lost_its_pools_those_of_the_database(rqflow: Rqflow, db: redis.Redis, files: Path) -> None:
    rqflow("pool", "set", "disk", 3)
    db.flushall()
    rqflow("submit", files / "two.py")
    assert status.pools(db)["disk"].slots == 3


def test_a_pool_is_changed_for_running_workers_at_once(rqflow: Rqflow, db: redis.Redis) -> None:
    for slots in (3, 5):
        rqflow("pool", "set", "disk", slots)
        assert status.pools(db)["disk"].slots == slots
    rqflow("pool", "delete", "disk")
    assert "disk" not in status.pools(db)
