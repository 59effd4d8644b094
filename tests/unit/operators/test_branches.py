"""Branches by time, of an author's own, and LatestOnly."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from rqflow import DAG, BaseBranchOperator, BranchDateTimeOperator, BranchDayOfWeekOperator, EmptyOperator, LatestOnlyOperator, clock
from rqflow.dag.model import collecting
from rqflow.dag.run import MANUAL, SCHEDULED
from rqflow.dag.serialization import version_of
from rqflow.operators.base import Ended
from rqflow.states import TaskState
from tests.unit.builders import a_run
from tests.unit.operators.jobs import a_job, launch, outcome, result

#: A Thursday.
NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "utcnow", lambda: NOW)


def chosen(operator: Any, zone: str = "UTC", **arguments: Any) -> str:
    with DAG("d"):
        made = operator(task_id="a", follow_task_ids_if_true="yes", follow_task_ids_if_false=["no"], **arguments)
    (found,) = made.execute({"dag": SimpleNamespace(timezone=zone), "logical_date": NOW - timedelta(days=1)})
    return str(found)


@pytest.mark.parametrize(
    ("operator", "arguments", "zone", "expected"),
    [
        (BranchDayOfWeekOperator, {"week_day": "Thursday"}, "UTC", "yes"),
        (BranchDayOfWeekOperator, {"week_day": {"Friday", "monday"}}, "UTC", "no"),
        (BranchDayOfWeekOperator, {"week_day": "Friday"}, "Pacific/Kiritimati", "yes"),
        (BranchDayOfWeekOperator, {"week_day": "Wednesday", "use_task_logical_date": True}, "UTC", "yes"),
        (BranchDateTimeOperator, {"target_lower": time(11), "target_upper": time(13)}, "UTC", "yes"),
        (BranchDateTimeOperator, {"target_lower": time(13)}, "UTC", "no"),
        (BranchDateTimeOperator, {"target_upper": time(11)}, "UTC", "no"),
        (BranchDateTimeOperator, {"target_lower": time(20), "target_upper": time(22)}, "Asia/Tokyo", "yes"),
        (BranchDateTimeOperator, {"target_lower": time(11), "target_upper": time(2)}, "UTC", "yes"),
        (BranchDateTimeOperator, {"target_lower": datetime(2026, 11, 26, 13)}, "UTC", "no"),
        (BranchDateTimeOperator, {"target_lower": datetime(2026, 11, 26, 13)}, "Europe/Berlin", "yes"),
        (BranchDateTimeOperator, {"target_upper": datetime(2026, 11, 25, 23), "use_task_execution_date": True}, "UTC", "yes"),
    ],
)
def test_moments_choose(operator: Any, arguments: Mapping[str, Any], zone: str, expected: str) -> None:
    assert chosen(operator, zone, **arguments) == expected


@pytest.mark.parametrize(
    ("operator", "arguments", "said"),
    [
        (BranchDateTimeOperator, {}, "give target_lower, target_upper or both"),
        (BranchDateTimeOperator, {"target_lower": "noon"}, "target_lower must be a datetime or a datetime.time, not 'noon'"),
        (BranchDayOfWeekOperator, {"week_day": "Caturday"}, "week_day='Caturday' must be one of"),
    ],
)
def test_moments_that_are_none(operator: Any, arguments: Mapping[str, Any], said: str) -> None:
    with collecting() as found, DAG("d"):
        operator(task_id="a", follow_task_ids_if_true="yes", follow_task_ids_if_false="no", **arguments)
    assert said in found.notes.problems[0].message


def test_a_branch_of_an_authors_own_skips_what_it_does_not_choose() -> None:
    class Own(BaseBranchOperator):
        def choose_branch(self, context: Mapping[str, Any]) -> str:
            return str(context["way"])

    with DAG("d") as dag:
        Own(task_id="own") >> [EmptyOperator(task_id="left"), EmptyOperator(task_id="right")]
    assert dag.get_task("own").execute({"way": "left"}) == "left"
    version = version_of(dag, file="d.py", generation="native", sources={})
    assert (version.by_id["own"].operator, version.by_id["own"].needs_source) == ("branch", True)
    found = outcome(result("left"), a_job(version, "own"))
    assert [version.tasks[index].task_id for index in found.skip] == ["right"]


def skipped(schedule: Any, run_type: str, began: timedelta, generation: str = "2") -> list[str]:
    """What LatestOnly skips in a run whose interval ended so long ago."""
    with DAG("d", schedule=schedule, start_date=datetime(2020, 1, 1)) as dag:
        LatestOnlyOperator(task_id="latest") >> [EmptyOperator(task_id="a"), EmptyOperator(task_id="b")] >> EmptyOperator(task_id="c")
    version = version_of(dag, file="d.py", generation=generation, sources={})
    end = NOW - began
    run = a_run(version, run_type=run_type, logical_date=end - timedelta(days=1), data_interval_start=end - timedelta(days=1), data_interval_end=end)
    job = a_job(version, "latest", run=run)
    assert launch(job).argv == ("true",)
    found = outcome(Ended(exit_code=0), job)
    assert found.state is TaskState.SUCCESS
    return [version.tasks[index].task_id for index in found.skip]


@pytest.mark.parametrize(
    ("schedule", "run_type", "began", "skips"),
    [
        ("@daily", SCHEDULED, timedelta(hours=12), []),
        ("@daily", SCHEDULED, timedelta(hours=36), ["a", "b"]),
        (timedelta(days=1), SCHEDULED, timedelta(hours=23), []),
        (timedelta(days=1), SCHEDULED, timedelta(hours=25), ["a", "b"]),
        ("@daily", MANUAL, timedelta(days=36), []),
        (None, SCHEDULED, timedelta(days=36), []),
        ("@once", SCHEDULED, timedelta(days=36), []),
    ],
)
def test_only_the_latest_run_goes_on(schedule: Any, run_type: str, began: timedelta, skips: list[str]) -> None:
    assert skipped(schedule, run_type, began) == skips


def test_latest_only_that_was_killed_has_failed() -> None:
    with DAG("d", schedule="@daily") as dag:
        LatestOnlyOperator(task_id="a")
    assert outcome(Ended(signal=9), a_job(version_of(dag, file="d.py", generation="2", sources={}))).state is TaskState.FAILED
