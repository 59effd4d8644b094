"""Dates that a file takes from the clock stay while the file stays."""

from __future__ import annotations

from dataclasses import replace

from rqflow.dag import dates
from tests.unit.builders import a_task, a_version


def at(day: int, **changes: object) -> object:
    moment = f"2026-01-0{day}T00:00:00+00:00"
    return a_version(specs=[a_task("a", start_date=moment)], start_date=moment, end_date=None, default_args={"start_date": moment, "owner": "me"}, **changes)


def test_a_start_date_that_moved_makes_no_new_version() -> None:
    assert dates.kept(at(2), at(1)).sha == at(1).sha  # type: ignore[arg-type, attr-defined]


def test_whatever_else_moved_makes_one_with_the_dates_of_before() -> None:
    kept = dates.kept(at(2, description="by another clock"), at(1))  # type: ignore[arg-type]
    assert kept.sha not in {at(1).sha, at(2).sha}  # type: ignore[attr-defined]
    assert kept == replace(at(1), description="by another clock")  # type: ignore[type-var]
