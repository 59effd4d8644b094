"""Series of dates: what comes next, what is complete, and what of that is started."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqflow.dag.series import MOST_COUNTED, Interval, Plan, Series, begin, resume
from rqflow.dag.timetable import Timetable

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo")
SCHEDULES = ("@hourly", "@daily", "30 2 * * *", "*/7 * * * *", "0 0 29 2 *", "0 9 * * MON-FRI", "0 0 * * 6#1", "@monthly", "timedelta:3600", "timedelta:0.5",
             "timedelta:86400", "relativedelta:months=1", "relativedelta:days=1,hours=6", "15 10 * * * 20")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def series(schedule: str | None, start: str, *, zone: str = "UTC", generation: str = "1", end: str | None = None) -> Series:
    return Series(timetable=Timetable(schedule=schedule, timezone=zone, generation=generation), start=utc(start), end=utc(end) if end else None)


def dates(of: Series, count: int) -> list[str]:
    found = of.next()
    shown = []
    while found and len(shown) < count:
        shown.append(found.logical_date.isoformat(timespec="minutes")[:16])
        found = of.next(found.logical_date)
    return shown


@pytest.mark.parametrize(("schedule", "start", "expected"), [
    ("@daily", "2026-01-01T00:00", ["2026-01-01T00:00", "2026-01-02T00:00"]),
    ("@daily", "2026-01-01T00:01", ["2026-01-02T00:00", "2026-01-03T00:00"]),
    ("0 0 29 2 *", "2024-03-01T00:00", ["2028-02-29T00:00", "2032-02-29T00:00"]),
    ("timedelta:3600", "2026-01-01T00:10", ["2026-01-01T00:10", "2026-01-01T01:10"]),
    ("relativedelta:months=1", "2026-01-31T00:00", ["2026-01-31T00:00", "2026-02-28T00:00", "2026-03-31T00:00"]),
    ("@once", "2026-01-01T00:00", []), (None, "2026-01-01T00:00", []),
])
def test_a_series_begins_at_its_start(schedule: str | None, start: str, expected: list[str]) -> None:
    assert dates(series(schedule, start), len(expected) or 1) == expected


def test_a_series_ends_with_its_last_logical_date() -> None:
    of = series("@daily", "2026-01-01T00:00", end="2026-01-02T12:00")
    assert dates(of, 9) == ["2026-01-01T00:00", "2026-01-02T00:00"]
    assert of.latest(utc("2027-01-01T00:00")) == of.next(utc("2026-01-01T00:00"))


@pytest.mark.parametrize(("generation", "due"), [("1", "2026-01-02T00:00"), ("3", "2026-01-01T00:00")])
def test_a_run_is_due_at_the_end_of_its_interval(generation: str, due: str) -> None:
    first = series("@daily", "2026-01-01T00:00", generation=generation).next()
    assert first == Interval(logical_date=utc("2026-01-01T00:00"), start=utc("2026-01-01T00:00"), end=utc(due))


MOMENTS = st.datetimes(min_value=datetime(2023, 1, 1), max_value=datetime(2029, 1, 1), timezones=st.just(UTC))


@given(schedule=st.sampled_from(SCHEDULES), zone=st.sampled_from(ZONES), start=MOMENTS)
def test_intervals_have_neither_gap_nor_overlap(schedule: str, zone: str, start: datetime) -> None:
    of = Series(timetable=Timetable(schedule=schedule, timezone=zone), start=start)
    last = of.next()
    assert last is not None
    assert last.logical_date >= start
    for _ in range(12):
        following = of.next(last.logical_date)
        assert following is not None
        assert last.logical_date == last.start < last.end == following.start
        last = following


@given(schedule=st.sampled_from(SCHEDULES), zone=st.sampled_from(ZONES), start=MOMENTS, later=st.timedeltas(timedelta(0), timedelta(days=40)), generation=st.sampled_from("13"))
def test_the_latest_is_the_last_of_the_complete_ones(schedule: str, zone: str, start: datetime, later: timedelta, generation: str) -> None:
    of = Series(timetable=Timetable(schedule=schedule, timezone=zone, generation=generation), start=start)
    now = start + later
    some = list(islice(of.complete(now), 200))
    if len(some) < 200:
        assert of.latest(now) == (some[-1] if some else None)
    else:
        last = of.latest(now)
        assert last is not None
        following = of.next(last.logical_date)
        assert following is not None
        assert last.end <= now < following.end


def test_a_daily_schedule_keeps_to_its_wall_clock_over_a_change_of_the_clock() -> None:
    of = series("0 9 * * *", "2026-03-27T00:00", zone="America/New_York")
    of = Series(timetable=of.timetable, start=utc("2026-03-06T00:00"))
    found = list(islice(of.complete(utc("2026-03-12T00:00")), 9))
    assert {one.logical_date.astimezone(ZoneInfo("America/New_York")).hour for one in found} == {9}


@pytest.mark.parametrize(("now", "runs", "skipped", "upto"), [
    ("2026-01-01T12:00", [], 0, None),
    ("2026-01-02T00:00", ["2026-01-01"], 0, "2026-01-01"),
    ("2026-01-03T00:00", [], 2, "2026-01-02"),
    ("2036-01-03T00:00", [], MOST_COUNTED + 1, "2036-01-02"),
])
def test_without_catchup_a_new_series_starts_one_complete_date_or_none(now: str, runs: list[str], skipped: int, upto: str | None) -> None:
    plan = begin(series("@daily", "2026-01-01T00:00"), utc(now))
    assert plan.upto == (utc(upto) if upto else None)
    assert ([one.logical_date.date().isoformat() for one in plan.runs], plan.skipped) == (runs, skipped)


def test_with_catchup_all_complete_dates_are_started_the_oldest_first() -> None:
    of = series("@daily", "2026-01-01T00:00")
    plan = resume(of, None, utc("2026-01-04T01:00"), catchup=True)
    assert [one.logical_date.day for one in plan.runs] == [1, 2, 3]
    assert resume(of, plan.upto, utc("2026-01-04T01:00"), catchup=True) == Plan(upto=plan.upto)
    assert [one.logical_date.day for one in resume(of, None, utc("2026-01-04T01:00"), catchup=True, room=2).runs] == [1, 2]
    assert resume(of, None, utc("2026-01-04T01:00"), catchup=True, room=0) == Plan()


def test_without_catchup_only_the_latest_date_is_started_after_an_outage() -> None:
    plan = resume(series("@hourly", "2026-01-01T00:00"), utc("2026-01-05T00:00"), utc("2026-01-08T00:30"), catchup=False)
    assert ([one.logical_date for one in plan.runs], plan.skipped, plan.upto) == ([utc("2026-01-07T23:00")], 70, utc("2026-01-07T23:00"))
