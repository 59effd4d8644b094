"""Dates behave the same with pendulum and without it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from rqflow.dag import moments

AT = datetime(2024, 1, 31, 13, 5, 9, 7, tzinfo=UTC)


@pytest.fixture(params=["pendulum", "plain"])
def date(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """AT as a template sees it."""
    if request.param == "plain":
        monkeypatch.setitem(sys.modules, "pendulum", None)
    moments.moment_class.cache_clear()
    moments._utc.cache_clear()
    made = moments.moment(AT)
    assert isinstance(made, moments.PlainMoment) == (request.param == "plain")
    yield made
    moments.moment_class.cache_clear()
    moments._utc.cache_clear()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("str(d)", "2024-01-31 13:05:09.000007+00:00"),
        ("d.isoformat()", "2024-01-31T13:05:09.000007+00:00"),
        ("d.strftime('%Y%m%d')", "20240131"),
        ("d.subtract(days=31, hours=13).to_date_string()", "2023-12-31"),
        ("d.add(months=1).to_date_string()", "2024-02-29"),
        ("d.add(years=1, months=1).to_date_string()", "2025-02-28"),
        ("d.subtract(months=2).to_date_string()", "2023-11-30"),
        ("d.add(weeks=1, minutes=55).to_datetime_string()", "2024-02-07 14:00:09"),
        ("d.to_time_string()", "13:05:09"),
        ("d.set(microsecond=0).to_iso8601_string()", "2024-01-31T13:05:09Z"),
        ("d.in_timezone('Europe/Berlin').hour", 14),
        ("d.in_tz('America/New_York').strftime('%H:%M %z')", "08:05 -0500"),
        ("d.int_timestamp", 1706706309),
        ("round(d.float_timestamp, 3)", 1706706309.0),
        ("d.timezone_name", "UTC"),
        ("d.start_of('month').to_datetime_string()", "2024-01-01 00:00:00"),
        ("d.start_of('week').to_date_string()", "2024-01-29"),
        ("d.start_of('hour').to_datetime_string()", "2024-01-31 13:00:00"),
        ("d.end_of('year').to_datetime_string()", "2024-12-31 23:59:59"),
        ("d.end_of('day').microsecond", 999999),
        ("d.day_of_year", 31),
        ("d.week_of_year", 5),
        ("d.quarter", 1),
        ("int(d.day_of_week)", 2),
        ("d.format('YYYY-MM-DD [at] HH:mm:ss')", "2024-01-31 at 13:05:09"),
        ("d.format('D.M.YY H:m')", "31.1.24 13:5"),
        ("(d + timedelta(days=1) - d).total_seconds()", 86400.0),
        ("(d - timedelta(days=31)).add(days=1).to_date_string()", "2024-01-01"),
        ("d.date().isoformat()", "2024-01-31"),
        ("d.replace(day=1).subtract(days=1).to_date_string()", "2023-12-31"),
        ("d == AT and d.tzinfo.utcoffset(d) == timedelta(0)", True),
    ],
)
def test_what_authors_use_of_pendulum_is_there(date: Any, expression: str, expected: object) -> None:
    assert eval(expression, {"d": date, "AT": AT, "timedelta": timedelta}) == expected


def test_unknown_units_are_refused(date: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        date.add(fortnights=1)
    with pytest.raises(ValueError, match="fortnight"):
        date.start_of("fortnight")


def test_dates_of_other_zones_become_utc(date: Any) -> None:
    local = datetime(2024, 1, 1, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert moments.moment(local).isoformat() == "2023-12-31T15:00:00+00:00"
    assert str(moments.moment(local, "1")) == "2023-12-31T15:00:00+00:00"
