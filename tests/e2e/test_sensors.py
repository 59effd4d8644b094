"""Sensors with real processes: what must hold when a worker and Redis are lost while one waits."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import redis

from rqflow.store import tasks as store_tasks
from rqflow.store.engine import reading
from tests.e2e.lab import Lab, states, tasks
from tests.waiting import until


def test_a_sensor_that_gave_its_slot_back_goes_on_after_its_worker_was_killed_and_redis_wiped(
    new_lab: Callable[..., Lab], lab_redis: str, tmp_path: Path
) -> None:
    lab = new_lab(redis_url=lab_redis)
    lab.hub()
    worker = lab.worker("-n", "1")
    awaited = tmp_path / "awaited"
    run_id = lab.submit(lab.dag(f"""
        from rqflow import DAG, BashOperator, FileSensor
        with DAG("waits"):
            wait = FileSensor(task_id="wait", filepath="{awaited}", mode="reschedule", poke_interval=2, timeout=600)
            wait >> BashOperator(task_id="after", bash_command="echo after")
            BashOperator(task_id="beside", bash_command="true")
    """))
    # The one slot is free for others while it waits.
    until(lambda: states(lab.show(run_id)) == {"wait": "up_for_reschedule", "after": "pending", "beside": "success"}, what="the first look")
    until(lambda: _began(lab, run_id) is not None, what="the history to know of the first look")
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    began = _began(lab, run_id)
    with redis.Redis.from_url(lab_redis) as connection:
        connection.flushall()
    lab.worker("-n", "1")
    awaited.touch()
    ended = tasks(lab.finish(run_id))
    assert (ended["wait"]["state"], ended["wait"]["try_number"], ended["after"]["state"]) == ("success", 1, "success")
    assert _began(lab, run_id) == began
    log = lab.task_log(run_id, "wait")
    assert log.index("not yet; it looks again at") < log.index(f"found {awaited}")


def _began(lab: Lab, run_id: str) -> object:
    """When the history says that the sensor looked for the first time, None while it does not."""
    with reading(lab.services.engine) as connection:
        found = [one for one in store_tasks.tries(connection, _key(lab, run_id), "wait") if one.state == "up_for_reschedule" or one.ended_at]
    return found[0].started_at if len(found) == 1 else None


def _key(lab: Lab, run_id: str) -> str:
    return str(lab.show(run_id)["run_key"])


def test_a_task_starts_a_run_of_another_dag_and_waits_for_it(lab: Lab) -> None:
    lab.run("submit", lab.dag("""
        from rqflow import DAG, BashOperator
        with DAG("other"):
            BashOperator(task_id="echo", bash_command="echo {{ dag_run.conf.word }}")
    """, "other.py"), "--no-follow")
    found = lab.outcome(lab.dag("""
        from rqflow import DAG, BashOperator, ExternalTaskSensor, TriggerDagRunOperator
        with DAG("starts") as dag:
            start = TriggerDagRunOperator(task_id="start", trigger_dag_id="other", conf={"word": "of {{ run_id }}"},
                                          trigger_run_id="for {{ run_id }}", logical_date="{{ logical_date }}", wait_for_completion=True, poke_interval=1)
            wait = ExternalTaskSensor(task_id="wait", external_dag_id="other", external_task_id="echo", poke_interval=1)
            tell = BashOperator(task_id="tell", bash_command="echo {{ ti.xcom_pull(task_ids='start', key='trigger_run_id') | shquote }}")
            start >> wait >> tell
            TriggerDagRunOperator(task_id="nobody", trigger_dag_id="othr")
    """))
    assert states(found) == {"start": "success", "wait": "success", "tell": "success", "nobody": "failed"}
    assert tasks(found)["nobody"]["reason"] == "the hub starts no run of othr: there is no DAG othr"
    assert lab.task_log(found["run_id"], "tell").splitlines()[0] == f"for {found['run_id']}"
