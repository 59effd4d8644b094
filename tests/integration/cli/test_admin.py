"""init, info, db, pool: what keeps house."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from rqflow import settings
from rqflow.broker.logstream import LogStream
from tests.integration.cli.conftest import Rqflow


def test_init_makes_a_home_with_a_first_dag(rqflow: Rqflow, home: Path) -> None:
    result = rqflow("init")
    assert result.code == 0
    assert {Path(line).name for line in result.out.splitlines()} == {"rqflow.cfg", "hello.py"}
    assert settings.load(home=home, environ={}).file == home / "rqflow.cfg"
    assert rqflow("dag", "validate", home / "dags").code == 0


def test_init_keeps_what_is_there(rqflow: Rqflow, home: Path) -> None:
    rqflow("init", "--no-examples")
    (home / "rqflow.cfg").write_text("[worker]\nslots = 9\n")
    assert rqflow("init").code == 5
    assert rqflow("config", "get", "worker.slots").out == "9\n"
    assert rqflow("init", "--force").code == 0
    assert rqflow("config", "get", "worker.slots").out == "4\n"


def test_a_configuration_is_checked_and_printed(rqflow: Rqflow, home: Path) -> None:
    assert (rqflow("config", "check").code, "which is not there" in rqflow("config", "check").err) == (0, True)
    printed = rqflow("config", "default").out
    assert "[redis]" in printed
    (home / "rqflow.cfg").write_text(printed)
    assert rqflow("config", "check").code == 0, "what is printed can be used as it is"
    (home / "rqflow.cfg").write_text("[worker]\nslotz = 3\n")
    wrong = rqflow("config", "check")
    assert (wrong.code, "there is no setting worker.slotz" in wrong.err, "Did you mean worker.slots?" in wrong.err) == (6, True, True)


def test_init_takes_a_folder(rqflow: Rqflow, tmp_path: Path) -> None:
    assert rqflow("init", tmp_path / "elsewhere").code == 0
    assert (tmp_path / "elsewhere" / "rqflow.cfg").exists()


def test_init_of_a_folder_asks_no_other_home(rqflow: Rqflow, home: Path, tmp_path: Path) -> None:
    (home / "rqflow.cfg").write_text("[core]\ndags_folder = pipelines\n[database]\nurl = oracle://x/y\n")
    assert rqflow("init", tmp_path / "elsewhere").code == 0
    assert (tmp_path / "elsewhere" / "dags" / "hello.py").exists()


def test_info_starts_nothing_and_shows_no_password(rqflow: Rqflow, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQFLOW__DATABASE__URL", "mysql://me:hunter2@db/rqflow")
    result = rqflow("info", "-o", "json")
    assert json.loads(result.out)["database"] == "mysql://me:***@db/rqflow"
    assert "hunter2" not in result.out
    assert list(home.iterdir()) == []


def test_info_tells_whether_logs_are_archived(rqflow: Rqflow, db: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQFLOW__REDIS__URL", redis_url)

    def told() -> str:
        return str(json.loads(rqflow("info", "-o", "json").out)["log_archive"])

    assert told() == "takes logs"
    LogStream(db).hold("the disk is full")
    assert told().startswith("takes no logs since 20")
    assert told().endswith("UTC: the disk is full")


def test_a_database_is_upgraded_checked_and_reset(rqflow: Rqflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQFLOW__DATABASE__URL", f"sqlite:///{tmp_path}/x.db")
    assert rqflow("db", "check").code == 5
    upgraded = rqflow("db", "upgrade")
    assert (upgraded.code, rqflow("db", "check")) == (0, upgraded)
    assert rqflow("initdb").out == upgraded.out
    assert rqflow("db", "reset").code == 2
    assert rqflow("db", "reset", "--yes").code == 0
    assert rqflow("dag", "list", "-o", "json").out == "[]\n"


def test_pools_are_made_changed_and_deleted(rqflow: Rqflow) -> None:
    assert rqflow("pool", "set", "disk", 3, "--description", "the array").code == 0
    assert json.loads(rqflow("pool", "get", "disk", "-o", "json").out) == {
        "name": "disk", "slots": 3, "used": 0, "parked": 0, "description": "the array"}
    rqflow("pool", "set", "disk", 5)
    assert [row.split(",")[:4] for row in rqflow("pool", "list", "-o", "csv").out.splitlines()[1:]] == [
        ["default_pool", "", "0", "0"], ["disk", "5", "0", "0"]]
    assert rqflow("pool", "list").out.splitlines()[1].split() == ["default_pool", "unlimited", "0", "0"]
    assert json.loads(rqflow("pool", "get", "default_pool", "-o", "json").out)["slots"] is None
    assert rqflow("pool", "delete", "disk").code == 0
    assert rqflow("pool", "list", "-o", "name").out == "default_pool\n"


def test_python_runs_a_file_with_airflow_understood(rqflow: Rqflow, tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("import sys\nfrom airflow.operators.bash import BashOperator\nprint(BashOperator.__name__, sys.argv[1:])\n")
    result = rqflow("python", file, "-x", "y")
    assert (result.code, result.out) == (0, "BashOperator ['-x', 'y']\n")


def test_python_shows_the_traceback_of_the_file_alone(rqflow: Rqflow, tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("def f():\n    return 1 / 0\n\nf()\n")
    result = rqflow("python", file)
    assert result.code == 1
    assert "ZeroDivisionError" in result.err
    assert "runpy" not in result.err


RULE = 'BashOperator(task_id="a", bash_command="true", trigger_rule="nope")'


@pytest.mark.parametrize("command", [(), ("-m", "rqflow.cli.main", "python")], ids=["python", "rqflow python"])
@pytest.mark.parametrize(("body", "code", "told"), [
    ('with DAG("d", schedule=None):\n    BashOperator(task_id="a", bash_command="true")\n', 0, "d.py: DAG d with 1 tasks"),
    ('with DAG("d", schedule=None):\n    a = BashOperator(task_id="a", bash_command="true")\n    a >> a\n', 6, "d.py:2: DAG d has a cycle"),
    (f'with DAG("d", schedule=None):\n    {RULE}\n', 6, "d.py:3: task a: trigger_rule='nope'"),
    (f'with DAG("d", schedule=None):\n    if __name__ == "__main__":\n        {RULE}\n', 6, "d.py:4: task a: trigger_rule='nope'"),
], ids=["good", "cycle", "rule", "only when run"])
def test_a_dag_file_run_as_a_script_ends_as_validate_does(command: tuple[str, ...], body: str, code: int, told: str, tmp_path: Path) -> None:
    (tmp_path / "d.py").write_text("from rqflow import DAG, BashOperator\n" + body)
    done = subprocess.run([sys.executable, *command, "d.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert (done.returncode, said.count(told), "Traceback" in said) == (code, 1, False), said


def test_a_mistake_in_an_airflow_file_is_one_line_of_it(rqflow: Rqflow, tmp_path: Path) -> None:
    file = tmp_path / "d.py"
    file.write_text(f'from airflow import DAG\nfrom airflow.operators.bash import BashOperator\nwith DAG("d"):\n    {RULE}\n')
    code, _, said = rqflow("python", file)
    assert (code, said.startswith(f"{file}:4: task a: trigger_rule='nope'"), said.count("\n")) == (6, True, 1)
