"""Runs by schedule with real processes: each date once, whoever is killed (reliability R33, R34)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise

from rqflow.actions import query
from rqflow.store.runs import RunFilter, RunRecord
from tests.e2e.lab import Lab
from tests.waiting import until

EVERY = 2
FILE = f"""
    from datetime import datetime, timezone
    from rqflow import DAG, EmptyOperator
    with DAG("often", schedule="* * * * * */{EVERY}", start_date=datetime.now(timezone.utc), catchup=True, max_active_runs=1000):
        EmptyOperator(task_id="a")
"""


def scheduled(lab: Lab) -> list[RunRecord]:
    found = query.list_runs(lab.services.broker, lab.services.engine, RunFilter(dag_id="often"), limit=None)
    return sorted(found, key=lambda run: run.logical_date)


def strike(lab: Lab, seconds: float, seed: int) -> int:
    """Let two schedulers lead for so long, and kill one of them every few seconds; return how often."""
    chance, kills = random.Random(seed), 0
    hubs = [lab.hub(), lab.hub()]
    over = time.monotonic() + seconds
    while (left := over - time.monotonic()) > 0:
        time.sleep(min(chance.uniform(1.5, 4.5), left))
        victim = chance.randrange(len(hubs))
        hubs[victim].kill()
        hubs[victim].wait()
        hubs[victim] = lab.hub()
        kills += 1
    return kills


def test_r33_r34_two_schedulers_that_are_killed_run_each_date_of_a_two_second_schedule_once(new_lab: Callable[..., Lab], lab_redis: str) -> None:
    lab = new_lab(redis_url=lab_redis)
    lab.run("submit", lab.dag(FILE), "--no-follow")
    assert strike(lab, 14, seed=34) >= 3
    lab.run("dag", "pause", "often")
    now = datetime.now().astimezone()
    until(lambda: all(run.state.value == "success" for run in scheduled(lab)), what="all runs to be recorded")
    dates = [run.logical_date for run in scheduled(lab)]
    assert len(dates) >= 5
    assert [later - earlier for earlier, later in pairwise(dates)] == [timedelta(seconds=EVERY)] * (len(dates) - 1)
    assert now - dates[-1] < timedelta(seconds=4 * EVERY)


def test_r36_a_run_by_schedule_starts_within_two_seconds_of_its_time(new_lab: Callable[..., Lab], lab_redis: str) -> None:
    lab = new_lab(redis_url=lab_redis)
    lab.hub()
    lab.run("submit", lab.dag(FILE), "--no-follow")
    until(lambda: len(scheduled(lab)) >= 3, what="three runs")
    late = [run.created_at - run.data_interval_end for run in scheduled(lab)[:3]]
    assert all(timedelta(0) <= one < timedelta(seconds=2) for one in late), late
