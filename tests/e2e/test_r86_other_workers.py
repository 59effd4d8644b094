"""Reliability 86: the second attempt of a task with retry_on_other_worker is made by another worker when there is one, else by the same."""

from __future__ import annotations

from collections.abc import Callable

from rqflow.broker.names import machine_of
from tests.e2e.lab import Lab, tasks
from tests.waiting import until

DAG = """
    from rqflow import DAG, BashOperator
    with DAG("picky", schedule=None):
        for name in "abcd":
            BashOperator(task_id=name, bash_command="test $RQFLOW_TRY = 2", retries=1, retry_delay=0, retry_on_other_worker=True)
"""


def test_r86_a_second_attempt_is_made_by_another_worker_when_there_is_one(new_lab: Callable[..., Lab], lab_redis: str) -> None:
    lab = new_lab(redis_url=lab_redis)
    lab.hub()
    lab.worker(work_dir="first")
    second = lab.worker(work_dir="second")
    file = lab.dag(DAG)

    def machines(run_id: str) -> list[list[str]]:
        ended = lab.finish(run_id)
        assert ended["state"] == "success", lab.logs()
        return [[machine_of(one["worker"]) for one in task["tries"]] for task in tasks(ended).values()]

    found = machines(lab.submit(file))
    assert all(len(set(tries)) == 2 for tries in found), found
    second.terminate()
    second.wait()
    until(lambda: len(lab.workers()) == 1, what="the second worker to be gone")
    found = machines(lab.submit(file))
    assert all(len(tries) == 2 and len(set(tries)) == 1 for tries in found), found
