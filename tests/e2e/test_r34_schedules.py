"""Runs by schedule with real processes: each date once, whoever is killed (reliability R33, R34), and in time (R36)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from benchmarks import ticks
from tests.e2e.lab import Lab, tasks
from tests.waiting import until

NEW_YORK = ZoneInfo("America/New_York")
SOON = """
    from datetime import datetime, timezone
    from rqflow import DAG, BashOperator
    with DAG("soon", schedule="* * * * * */2", start_date=datetime.now(timezone.utc), catchup=True):
        BashOperator(task_id="a", bash_command="true")
"""
NINE = """
    import pendulum
    from rqflow import DAG, BashOperator
    at = pendulum.timezone("America/New_York")
    with DAG("nine", schedule="0 9 * * *", start_date=pendulum.datetime(2026, 3, 6, tz=at), end_date=pendulum.datetime(2026, 3, 11, tz=at), catchup=True):
        BashOperator(task_id="a", bash_command="echo {{ ds }} {{ ts }}")
    tomorrow = DAG("tomorrow", schedule="0 9 * * *", start_date=pendulum.datetime(2026, 3, 6, tz=at))
"""


def test_r33_r34_two_schedulers_that_are_killed_run_each_date_of_a_two_second_schedule_once(new_lab: Callable[..., Lab], lab_redis: str) -> None:
    found = ticks.strike(new_lab(redis_url=lab_redis), seconds=12, kills=3, seed=34)
    assert (found.missing, found.doubled) == ([], [])
    assert len(found.dates) >= 4


def test_r36_the_first_task_of_a_run_by_schedule_starts_within_two_seconds_of_its_time(new_lab: Callable[..., Lab], lab_redis: str) -> None:
    lab = new_lab(redis_url=lab_redis)
    lab.hub()
    lab.worker()
    lab.run("submit", lab.dag(SOON), "--no-follow")
    runs = until(lambda: len(found := ended(lab, "soon")) >= 3 and found, what="three runs")
    late = [(parse(tasks(lab.show(run["run_id"]))["a"]["started_at"]) - parse(run["data_interval_end"])).total_seconds() for run in runs]
    assert all(0 <= seconds < 2 for seconds in late), late


def test_r37_r42_nine_in_new_york_is_nine_there_wherever_scheduler_and_submit_believe_to_be(new_lab: Callable[..., Lab], lab_redis: str) -> None:
    lab = new_lab(redis_url=lab_redis, environ={"TZ": "Asia/Tokyo"})
    lab.hub()
    lab.worker(environ={"TZ": "America/New_York"})
    lab.run("submit", lab.dag(NINE), "--catchup", "all", "--no-follow", environ={"TZ": "UTC"})
    runs = until(lambda: len(found := ended(lab, "nine")) == 5 and found, patience=30, what="the past runs, over a change of the clock")
    dates = sorted(parse(run["logical_date"]) for run in runs)
    assert [(at.astimezone(NEW_YORK).strftime("%d %H:%M"), f"{at:%H:%M}") for at in dates] == [
        ("06 09:00", "14:00"), ("07 09:00", "14:00"), ("08 09:00", "13:00"), ("09 09:00", "13:00"), ("10 09:00", "13:00")]
    said = lab.run("--tz", "America/New_York", "run", "list", "--dag", "nine", "-o", "wide").stdout.splitlines()
    assert "COVERS FROM" in said[0]
    assert "2026-03-07T09:00:00-05:00  2026-03-08T09:00:00-04:00" in said[-2]
    # What Airflow 1.10's template said: the date in UTC at which the interval begins.
    assert [lab.task_log(run["run_id"], "a").splitlines()[0] for run in sorted(runs, key=lambda run: run["logical_date"])] == [
        f"{at:%Y-%m-%d} {at.isoformat()}" for at in dates]
    due = {zone: lab.run("dag", "next", "tomorrow", "-o", "json", environ={"TZ": zone}).stdout for zone in ("UTC", "Asia/Tokyo", "America/New_York")}
    assert len(set(due.values())) == 1
    assert {parse(one["due_at"]).astimezone(NEW_YORK).hour for one in json.loads(due["UTC"])} == {9}


def ended(lab: Lab, dag_id: str) -> list[dict[str, Any]]:
    return [run for run in lab.json("run", "list", "--dag", dag_id) if run["state"] == "success"]


def parse(text: str) -> datetime:
    return datetime.fromisoformat(text)
