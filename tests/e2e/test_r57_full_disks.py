"""Full disks (reliability R57): of the hub, whose logs wait, and of a worker, whose task fails and says why."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.e2e.lab import Lab, tasks
from tests.integration.recorder.test_room import fill, small_disk  # noqa: F401 - a fixture
from tests.waiting import until

PRINTS = """
    from rqflow import DAG, BashOperator
    with DAG("prints"):
        BashOperator(task_id="a", bash_command="for n in $(seq 100); do echo line $n; done") >> BashOperator(task_id="b", bash_command="echo b")
"""


def test_r57_tasks_go_on_while_the_hub_has_no_room_for_logs(new_lab: Callable[..., Lab], lab_redis: str, small_disk: Path) -> None:  # noqa: F811
    lab = new_lab(redis_url=lab_redis, environ={"RQFLOW__LOGS__FOLDER": str(small_disk / "logs"), "RQFLOW__LOGS__MIN_FREE": "1M"})
    filling = fill(small_disk, 900_000)
    lab.hub()
    lab.worker()
    run_id = lab.submit(lab.dag(PRINTS))
    assert lab.finish(run_id)["state"] == "success"
    held = lab.run("task", "logs", run_id, "a", code=3)
    assert "The log is cut off here" in held.stderr
    assert "less than logs.min_free (1M)" in held.stderr
    assert (lab.root / "scheduler-0.log").read_text().count("no logs are archived since") == 1
    filling.unlink()
    until(lambda: sum(not path.stat().st_mode & 0o200 for path in (small_disk / "logs").rglob("*.log")) == 2, what="both logs to come whole")
    whole = lab.run("task", "logs", run_id, "a")
    assert whole.stdout.count("line") == 100
    assert "cut off" not in whole.stderr


def test_r57_task_of_a_worker_whose_disk_is_full_fails_with_that_and_the_worker_lives(
    new_lab: Callable[..., Lab], lab_redis: str, small_disk: Path,  # noqa: F811
) -> None:
    lab = new_lab(redis_url=lab_redis)
    lab.hub()
    worker = lab.worker("-n", "1", environ={"RQFLOW__WORKER__WORK_DIR": str(small_disk / "work")})
    file = lab.dag(PRINTS)
    assert lab.outcome(file)["state"] == "success"
    until(lambda: not sum(path.stat().st_size for path in small_disk.glob("work/logs/*")), what="the logs to be archived, and their room to be free")
    filling = fill(small_disk, 0)
    failed = lab.outcome(file)
    assert failed["state"] == "failed"
    assert "No space left on device" in tasks(failed)["a"]["reason"]
    assert worker.poll() is None
    filling.unlink()
    assert lab.outcome(file)["state"] == "success"
    assert worker.poll() is None
    assert shutil.disk_usage(small_disk).free > 1_000_000, "nothing is left behind"
