from __future__ import annotations

import pytest

from rqflow.actions.sights.schedule_words import words
from rqflow.dag.timetable import CONTINUOUS, ONCE, PRESETS


@pytest.mark.parametrize(("schedule", "said"), [
    (None, "only by hand"),
    ("@daily", "every day at 00:00"),
    ("0 2 * * *", "at 02:00"),
    ("intervals:0 2 * * *", "at 02:00"),
    ("30 6 * * 1-5", "at 06:30, Monday through Friday"),
    ("*/5 * * * *", "every 5 minutes"),
    ("*/10 * * * * 30", "at 30 seconds past the minute, every 10 minutes"),
    ("timedelta:86400", "every day"),
    ("timedelta:5400", "every 1 hour 30 minutes"),
    ("timedelta:1209600", "every 2 weeks"),
    ("timedelta:90061", "every 1 day 1 hour 1 minute 1 second"),
    ("timedelta:0.5", "every 0.5 seconds"),
    ("relativedelta:months=1", "every month"),
    ("relativedelta:days=2,hours=1", "every 2 days 1 hour"),
    ("unsupported: Dataset", "a schedule that rqflow cannot read: Dataset"),
])
def test_a_schedule_is_told_in_words(schedule: str | None, said: str) -> None:
    assert words(schedule) == said


def test_the_zone_is_told_where_it_is_not_utc_and_matters() -> None:
    assert words("0 2 * * *", "Europe/Berlin") == "at 02:00 (Europe/Berlin)"
    assert [words(schedule, "Europe/Berlin") for schedule in (None, ONCE, "timedelta:60")] == ["only by hand", "once", "every minute"]


@pytest.mark.parametrize("schedule", [ONCE, CONTINUOUS, *PRESETS])
def test_each_name_of_a_schedule_has_words(schedule: str) -> None:
    assert "@" not in words(schedule)


def test_what_has_no_words_is_told_as_it_is() -> None:
    assert words("nonsense") == "nonsense"
