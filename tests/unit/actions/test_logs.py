from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from rqflow import clock
from rqflow import settings as configuration
from rqflow.actions import logs
from rqflow.actions.model import Run, TaskInstance, Try
from rqflow.states import RunState, TaskState


def a_failed_run(ended_ago: float) -> Run:
    at = clock.utcnow() - timedelta(seconds=ended_ago)
    one = Try(try_number=1, state=TaskState.FAILED, worker="w", started_at=at, ended_at=at)
    task = TaskInstance(task_id="t", state=TaskState.FAILED, try_number=1, tries=(one,))
    return Run(dag_id="d", run_id="r", run_key="k", state=RunState.FAILED, logical_date=at, conf={}, params={}, tasks=(task,))


def test_tail_waits_for_the_rest_of_the_log_of_a_try_that_ended_just_now(tmp_path: Path) -> None:
    run = a_failed_run(0.0)
    settings = configuration.load(home=tmp_path, environ={"RQFLOW__LOGS__FOLDER": str(tmp_path)})
    file = tmp_path / logs.path(run, "t", 1)
    file.parent.mkdir(parents=True)
    file.write_text("first\n")

    def arrive() -> None:
        with file.open("a") as stream:
            stream.write("why\n")
        file.chmod(0o440)

    threading.Timer(0.2, arrive).start()
    assert logs.tail(settings, run, run.tasks[0], 100) == b"first\nwhy\n"


def test_tail_does_not_wait_for_what_no_longer_comes(tmp_path: Path) -> None:
    run = a_failed_run(3600.0)
    settings = configuration.load(home=tmp_path, environ={"RQFLOW__LOGS__FOLDER": str(tmp_path)})
    began = clock.monotonic()
    assert logs.tail(settings, run, run.tasks[0], 100) == b""
    assert logs.tail(settings, run, replace(run.tasks[0], try_number=0), 100) == b""
    assert clock.monotonic() - began < logs.ARCHIVE_PATIENCE
