from __future__ import annotations

from pathlib import Path

import pytest

from rqflow.actions import submit
from rqflow.actions.survey import Report
from tests.unit.builders import a_task, a_version, an_empty_task


@pytest.mark.parametrize(("pool", "slots", "problem"), [
    ("p", 1, ""), ("p", 3, ""), ("default_pool", 1, ""), ("p", 4, "takes 4 slots of pool p, which has 3"), ("q", 1, "there is no pool q"),
])
def test_pools_are_checked(pool: str, slots: int, problem: str) -> None:
    report = Report(file=Path("d.py"), versions=(a_version(specs=[a_task("a", pool=pool, pool_slots=slots)]),), places={"d": {"a": "d.py:7"}})
    found = submit.pool_problems(report, {"p": 3})
    assert problem in "".join(found)
    assert bool(problem) == bool(found)
    assert all(one.startswith("d.py:7: task a of DAG d") for one in found)


@pytest.mark.parametrize(("schedule", "words"), [
    ("timedelta:86400", "every 1d"), ("timedelta:5400", "every 90m"), ("relativedelta:months=1", "every 1 month"),
    ("relativedelta:months=2,days=1", "every 2 months, 1 day"), ("0 3 * * *", "0 3 * * *"), ("triggers:0 3 * * *", "0 3 * * *"), ("intervals:timedelta:3600", "every 1h"),
    ("@daily", "@daily"), (None, ""),
])
def test_schedules_are_shown_in_words(schedule: str | None, words: str) -> None:
    assert submit.schedule_words(schedule) == words


def test_the_queues_that_workers_must_serve_leave_out_empty_tasks() -> None:
    version = a_version(specs=[a_task("a"), a_task("b", queue="gpu"), a_task("c", queue="gpu"), an_empty_task("d", queue="x")])
    assert submit.tasks_by_queue(version) == {"default": ["a"], "gpu": ["b", "c"]}
