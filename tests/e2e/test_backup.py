"""A hub is backed up while it works, and begins again from that elsewhere, on the other kind of database."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.lab import Lab, states
from tests.services import redis_server
from tests.waiting import until

SOURCE = """
from rqflow import DAG, BashOperator
with DAG("daily", schedule=None) as dag:
    a = BashOperator(task_id="a", bash_command="echo hello; echo {{{{ var.value.pin }}}} | wc -c", do_xcom_push=True)
    a >> BashOperator(task_id="b", bash_command="test {{{{ ti.xcom_pull('a') }}}} = 16")
with DAG("held", schedule=None):
    BashOperator(task_id="a", bash_command="echo x >> {folder}/began; while [ ! -e {folder}/go ]; do sleep 0.05; done")
    BashOperator(task_id="later", bash_command="true", queue="elsewhere")
"""
SECRET = "hunter-twenty-2"


@pytest.mark.timeout(240)  # two hubs and two kinds of database, on a busy machine
def test_a_hub_goes_on_elsewhere_from_a_backup_that_was_made_while_it_worked(
    new_lab: Callable[..., Lab], lab_redis: str, mariadb_database: str, tmp_path: Path,
) -> None:
    first = new_lab(redis_url=lab_redis)
    hub, worker = first.hub(), first.worker("-n", "2")
    file, archive = first.dag(SOURCE.format(folder=first.folder)), tmp_path / "hub.tar.gz"
    first.together(["var", "set", "pin", SECRET, "--secret"], ["submit", str(file)], ["run", "start", "daily", "--run-id", "d"],
                   ["run", "start", "held", "--run-id", "h"])
    assert states(first.finish("d")) == {"a": "success", "b": "success"}
    until(lambda: states(first.show("h"))["a"] == "running", what="the task to run")
    first.run("db", "backup", archive, "--logs")
    done = first.show("d")
    (first.folder / "go").touch()
    for process in (worker, hub):
        process.terminate()
        process.wait()

    folder = tmp_path / "second"
    folder.mkdir()
    with redis_server(folder, "--appendonly", "yes") as url:
        second = new_lab(redis_url=url, database_url=mariadb_database)
        try:
            told = second.run("db", "restore", archive).stderr
            gone = re.findall("rqflow worker forget (.+)", told)
            assert len(gone) == 1, told
            second.hub()
            again = second.show("d")
            same = ("dag_id", "run_id", "run_key", "state", "started_at", "ended_at", "conf", "params")
            assert {name: again[name] for name in same} == {name: done[name] for name in same}
            tried = ("try_number", "state", "execution_id", "worker", "pid", "ended_at", "exit_code", "cpu_seconds", "max_rss_bytes", "log_bytes")
            assert [one["tries"][0][name] for one in again["tasks"] for name in tried] == [one["tries"][0][name] for one in done["tasks"] for name in tried]
            said = second.together(["worker", "forget", *gone], ["task", "logs", "d", "a"], ["var", "get", "pin", "--show-secrets"],
                                   ["run", "start", "daily", "--run-id", "e"])
            assert ("hello" in said, SECRET in said) == (True, True)
            second.start("worker", "-n", "2", "-Q", "default,elsewhere")
            assert states(second.finish("e")) == {"a": "success", "b": "success"}
            until(lambda: states(second.show("h"))["later"] == "success", what="what had not begun to be done here")
            assert states(second.show("h"))["a"] == "running", "its worker is not heard of, so that nobody knows how it ended"
        finally:
            second.close()
