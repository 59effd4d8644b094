"""Reliability 52: three tries on three machines, each log readable although the machines are gone."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from tests.e2e.lab import Lab, tasks
from tests.profile import PATIENCE


def test_r52_the_log_of_each_try_outlives_the_machine_it_ran_on(new_lab: Callable[..., Lab], lab_redis: str) -> None:
    lab = new_lab(redis_url=lab_redis)
    lab.hub()
    run_id = lab.submit(lab.dag("""
        from datetime import timedelta
        from rqflow import DAG, BashOperator
        with DAG("moving"):
            BashOperator(task_id="a", bash_command="echo try $RQFLOW_TRY; [ $RQFLOW_TRY = 3 ]", retries=2, retry_delay=timedelta(seconds=0))
    """))
    for number in range(3):
        worker = lab.worker("--max-tasks", "1", work_dir=f"machine{number}")
        assert worker.wait(PATIENCE) == 0, lab.logs()
        shutil.rmtree(lab.root / f"machine{number}")
    run = lab.finish(run_id)
    assert len({one["worker"] for one in tasks(run)["a"]["tries"]}) == 3
    for number in range(1, 4):
        assert lab.task_log(run_id, "a", "--try", str(number)).splitlines()[0] == f"try {number}"
