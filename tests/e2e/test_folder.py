"""The folder of DAGs as a scheduler watches it: what changes beside a file is taken over by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from rqflow.settings import Scheduler
from tests.e2e.lab import Lab
from tests.profile import PATIENCE
from tests.waiting import until

FILE = """
from pathlib import Path
from rqflow import DAG, BashOperator
for name in Path(__file__).with_name("samples.txt").read_text().split():
    with DAG(f"align_{name}", schedule=None, is_paused_upon_creation=False):
        BashOperator(task_id="a", bash_command=f"echo {name}")
"""
#: Seconds within which a change is taken over, and by which part of them the times of these tests are shorter.
WITHIN, SHORTER = 30, 30


def test_a_line_in_a_file_beside_a_dag_file_is_a_dag_within_thirty_seconds(new_lab: Callable[..., Lab], lab_redis: str, home: Path) -> None:
    lab = new_lab(redis_url=lab_redis)
    folder = lab.home / "dags"
    folder.mkdir()
    (folder / "align.py").write_text(FILE)
    (folder / "samples.txt").write_text("one\n")
    lab.hub()
    lab.worker()

    def known() -> set[str]:
        return {dag["dag_id"] for dag in lab.json("dag", "list")}

    until(lambda: known() == {"align_one"}, what="the first DAG")
    with (folder / "samples.txt").open("a") as samples:
        samples.write("two\n")
    began = time.monotonic()
    until(lambda: known() == {"align_one", "align_two"}, what="the second DAG")
    # A scheduler looks every third of a second here; the rest is for the commands of this test on a machine that does other things too.
    assert time.monotonic() - began < WITHIN / SHORTER + PATIENCE / 2
    assert Scheduler().folder_interval <= timedelta(seconds=WITHIN / 2)
    run_id = lab.json("run", "start", "align_two")["run_id"]
    assert lab.finish(run_id)["state"] == "success"
    assert lab.task_log(run_id, "a").startswith("two\n")
