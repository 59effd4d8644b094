"""A person and their mail: what fails is told, what is mended goes on; with real processes, and a mail server with STARTTLS and login."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.lab import Lab, states, tasks
from tests.mailserver import MailServer, WebServer, mail_server, web_server
from tests.waiting import until

BROKEN = '''
from datetime import datetime, timedelta
from airflow import DAG
from airflow.operators.bash import BashOperator

with DAG("repair", schedule=None, start_date=datetime(2024, 1, 1), default_args={"email": "ada@x.test"}) as dag:
    BashOperator(task_id="t", bash_command="echo größer; COMMAND", retries=3, retry_delay=timedelta(hours=30))
    BashOperator(task_id="gone", bash_command="echo $$ > PIDFILE; sleep 600")
'''


@pytest.fixture
def mails(tmp_path: Path) -> Iterator[MailServer]:
    with mail_server(tmp_path) as server:
        yield server


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


def test_the_repair_walk_and_a_task_that_is_killed_with_its_worker(tmp_path: Path, redis_url: str, db: Any, mails: MailServer, web: WebServer) -> None:
    """A retry in 30 h: mail arrives, the file is repaired and resubmitted, run-now, success. Reliability 58: a task
    that was killed with its worker and shepherd is told of all the same."""
    lab = Lab(tmp_path / "lab", redis_url=redis_url, environ=mails.environ(RQFLOW__NOTICES__WEBHOOK_URLS=web.url, RQFLOW__NOTICES__RECOVERY="true"))
    try:
        lab.hub()
        worker = lab.worker()
        pid_file = tmp_path / "pid"
        source = BROKEN.replace("PIDFILE", str(pid_file))
        run_id = lab.submit(lab.dag(source.replace("COMMAND", "exit 3")))

        until(lambda: mails.mails, what="the mail")
        assert mails.subjects == ["rqflow: repair.t failed and is tried again (try 1 of 4)"]
        assert "  größer\n" in mails.mails[0].text
        assert f"rqflow task logs {run_id} t --try 1" in mails.mails[0].text

        lab.run("submit", lab.dag(source.replace("COMMAND", "true")))
        lab.run("task", "run-now", run_id, "t")
        until(lambda: len(mails.mails) > 1, what="the mail that all is well")
        assert mails.subjects[1] == "rqflow: repair.t succeeded after all (try 2 of 4)"

        until(pid_file.exists, what="the other task to run")
        for pid in (worker.pid, *[process.pid for process in lab.belongings() if "shepherd" in " ".join(process.cmdline())]):
            os.kill(pid, signal.SIGKILL)
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
        lab.start("worker")
        until(lambda: web.posts, patience=30, what="the post")
        ended = lab.finish(run_id)
        assert states(ended) == {"t": "success", "gone": "lost"}
        assert [try_["state"] for try_ in tasks(ended)["t"]["tries"]] == ["up_for_retry", "success"]
        (told,) = web.posts[0]["notices"]
        assert (told["task_id"], told["kind"], told["state"]) == ("gone", "failure", "lost")
        until(lambda: len(mails.mails) > 2, what="the mail about the lost task")
        assert mails.subjects[2] == "rqflow: repair.gone failed (try 1 of 1)"
        assert {one["state"] for one in lab.json("notice", "list")} == {"sent"}
    finally:
        lab.close()
