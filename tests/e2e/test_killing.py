"""Ending tasks: cancel and timeout reach every process of a task (reliability R20, R21), and kills are named."""

from __future__ import annotations

import os
import signal
import time

import redis

from tests.e2e.lab import Lab, states, tasks
from tests.processes import matching
from tests.profile import KILL_GRACE, NOISE
from tests.waiting import until


def sleepers(seconds: str) -> list[int]:
    """Pids of the `sleep` processes with this length."""
    return [process.pid for process in matching(lambda process: process.cmdline() == ["sleep", seconds])]


def test_r20_cancel_reaches_background_setsid_and_nohup_children(lab: Lab) -> None:
    length = f"1000.{os.getpid()}"
    file = lab.dag(f"""
        from rqflow import DAG, BashOperator
        with DAG("stragglers"):
            BashOperator(task_id="a", bash_command="(sleep {length} &) ; setsid sleep {length} & nohup sleep {length}")
    """)
    run_id = lab.submit(file)
    until(lambda: len(sleepers(length)) == 3, what="three sleeps to run")
    asked = time.monotonic()
    lab.run("run", "cancel", run_id)
    until(lambda: not sleepers(length), patience=KILL_GRACE + NOISE, what="every sleep to be gone")
    run = lab.finish(run_id)
    assert time.monotonic() - asked < KILL_GRACE + 2 * NOISE
    assert run["state"] == "cancelled"
    assert states(run) == {"a": "cancelled"}


def test_r21_a_timeout_kills_what_ignores_term_and_says_so(lab: Lab) -> None:
    length = f"100.{os.getpid()}"
    file = lab.dag(f"""
        from datetime import timedelta
        from rqflow import DAG, BashOperator
        with DAG("deaf"):
            BashOperator(task_id="a", bash_command='trap "" TERM; sleep {length} & sleep {length}; sleep {length}', execution_timeout=timedelta(seconds=1))
    """)
    run = lab.outcome(file)
    a = tasks(run)["a"]
    assert run["state"] == "failed"
    assert "timeout" in a["reason"]
    assert a["tries"][0]["signal"] == signal.SIGKILL
    assert 1.0 <= a["duration"] < 1.0 + KILL_GRACE + 5
    assert not sleepers(length)
    assert "timeout" in lab.task_log(run["run_id"], "a")


def test_a_task_killed_from_outside_names_the_signal(lab: Lab) -> None:
    file = lab.dag("""
        from rqflow import DAG, BashOperator
        with DAG("shot"):
            BashOperator(task_id="a", bash_command="echo before; kill -9 $$")
    """)
    run = lab.outcome(file)
    a = tasks(run)["a"]
    assert (a["state"], a["tries"][0]["signal"]) == ("failed", 9)
    log = lab.task_log(run["run_id"], "a")
    assert "before" in log
    assert "KILL" in log.splitlines()[-1]


def test_r82_no_task_has_a_timeout_unless_it_asks(lab: Lab) -> None:
    """A task that outlives many heartbeats and leases ends well, once; its RQ job has no timeout and no time to live."""
    file = lab.dag("""
        from rqflow import DAG, BashOperator
        with DAG("patient"):
            BashOperator(task_id="a", bash_command="sleep 5")
    """)
    run_id = lab.submit(file)
    until(lambda: states(lab.show(run_id))["a"] == "running", what="a to run")
    job = lab.show(run_id)["tasks"][0]["job_id"]
    with redis.Redis.from_url(lab.redis_url) as connection:
        record = connection.hgetall(f"rq:job:{job}")
        assert (record[b"timeout"], record.get(b"ttl"), connection.ttl(f"rq:job:{job}")) == (b"-1", None, -1)
    run = lab.finish(run_id)
    assert run["state"] == "success"
    assert len(tasks(run)["a"]["tries"]) == 1
