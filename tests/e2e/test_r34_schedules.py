"""Runs by schedule with real processes: each date once, whoever is killed (reliability R33, R34), and in time (R36)."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import ticks
from tests.e2e.lab import Lab


def test_r33_r34_two_schedulers_that_are_killed_run_each_date_of_a_two_second_schedule_once(new_lab: Callable[..., Lab], lab_redis: str) -> None:
    found = ticks.strike(new_lab(redis_url=lab_redis), seconds=12, kills=3, seed=34)
    assert (found.missing, found.doubled) == ([], [])
    assert len(found.dates) >= 4


def test_r36_a_run_by_schedule_starts_within_two_seconds_of_its_time(new_lab: Callable[..., Lab], lab_redis: str) -> None:
    found = ticks.strike(new_lab(redis_url=lab_redis), seconds=7, kills=0, seed=0)
    assert len(found.dates) >= 2
    assert 0 <= found.late[0] <= found.late[1] < 2
