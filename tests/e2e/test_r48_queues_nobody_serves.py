"""Reliability 48: tasks wait on a queue that no live worker serves. It is told once, by the hub, `info` and `run show`, until it changes."""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e.lab import Lab, tasks
from tests.waiting import until

DAG = """
    from rqflow import DAG, BashOperator
    with DAG("waiting"):
        [BashOperator(task_id=name, bash_command="true", queue="gpu") for name in "ab"]
"""
#: How long tasks have waited before it is told (5 minutes by default).
AFTER = 1.0
#: Seconds in which the hub looks more than once.
LOOKS = 2.0


def test_r48_a_queue_that_nobody_serves_is_told_once_until_it_changes(new_lab: Callable[..., Lab], lab_redis: str) -> None:
    lab = new_lab(redis_url=lab_redis, environ={"RQFLOW__SCHEDULER__UNSERVED_AFTER": f"{AFTER}s"})
    lab.hub()
    lab.worker("-Q", "other")

    def warnings() -> list[str]:
        return [line for line in lab.logs().splitlines() if "no worker serves the queue gpu" in line]

    run_id = lab.submit(lab.dag(DAG))
    line, = until(warnings, what="the hub to warn")
    assert "2 tasks wait for one, nothing is lost" in line
    assert "since 20" in line
    assert "rqflow worker -Q gpu" in line
    waiting, = lab.json("info")["queues_unserved"]
    assert waiting in line
    assert tasks(lab.show(run_id))["a"]["reason"] == waiting
    # A second leader knows that it was told.
    lab.processes[0].kill()
    lab.processes[0].wait()
    lab.hub()
    last = int(lab.services.connection.get("rqflow:watched"))
    until(lambda: int(lab.services.connection.get("rqflow:watched")) > last + LOOKS * 1_000_000, what="the second hub to have looked more than once")
    assert len(warnings()) == 1
    worker = lab.worker("-Q", "gpu", work_dir="gpu")
    assert lab.finish(run_id)["state"] == "success"
    until(lambda: not lab.json("info")["queues_unserved"], what="it to be over")
    worker.terminate()
    worker.wait()
    lab.submit(lab.dag(DAG))
    until(lambda: len(warnings()) == 2, what="the hub to warn of the next time")
