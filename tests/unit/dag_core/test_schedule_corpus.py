"""All forms of schedules that real DAG files use: their next dates, worked out by counting days, agree with the series."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from dateutil.relativedelta import relativedelta

from rqflow.dag.series import Series
from rqflow.dag.timetable import PRESETS, Timetable, schedule_text

COUNT = 50
START = datetime(2027, 12, 30, 21, 17, 5, tzinfo=UTC)  # before a leap year, within a day, an hour and a minute
CRONS = [
    "0 0 * * *", "*/5 * * * *", "30 6 * * *", "0 */6 * * *", "15 3,15 * * *", "0 9 * * MON-FRI", "0 9 * * 1-5", "0 0 * * 6#1", "0 0 * * 0", "0 0 * * 7",
    "*/45 * * * *", "1/10 * * * *", "0 0 1 */3 *", "0 0 1,15 * *", "0 0 29 2 *", "0 12 * JAN,jul *", "5 4 * * sun", "0 0 13 * 5", "59 23 31 * *",
    "0 0 * * 5#2", "10-40/15 8-18/5 * * *", "0 8 * * 1,3,5 ", "15 10 * * * 20", "* * * * * */20", *PRESETS,
]
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]


def numbers(field: str, lowest: int, highest: int, names: list[str]) -> set[int]:
    """The values that a field allows, by cron's rules."""
    for number, name in enumerate(names):
        field = field.lower().replace(name, str(number + lowest))
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin = lowest if first == "*" else int(first)
        end = highest if first == "*" or (step and not last) else int(last or first)
        found.update(range(begin, end + 1, int(step or 1)))
    return found


def fits(day: date, dom: str, month: str, dow: str) -> bool:
    """Whether a day is meant: by day of month or by day of week where both are restricted."""
    if day.month not in numbers(month, 1, 12, MONTHS):
        return False
    weekday = (day.weekday() + 1) % 7
    if "#" in dow:
        which, _, nth = dow.partition("#")
        return weekday == int(which) % 7 and (day.day - 1) // 7 + 1 == int(nth)
    by_month, by_week = day.day in numbers(dom, 1, 31, []), weekday in {number % 7 for number in numbers(dow, 0, 7, DAYS)}
    if dom == "*" or dow == "*":
        return by_month and by_week
    return by_month or by_week


def counted(expression: str) -> Iterator[datetime]:
    """The dates of a cron expression from START on, in UTC, by looking at each day, hour, minute and second."""
    minute, hour, dom, month, dow, *seconds = PRESETS.get(expression, expression).split()
    day = START.date()
    while True:
        if fits(day, dom, month, dow):
            for clock in sorted((h, m, s) for h in numbers(hour, 0, 23, []) for m in numbers(minute, 0, 59, []) for s in
                                (numbers(seconds[0], 0, 59, []) if seconds else {0})):
                moment = datetime(day.year, day.month, day.day, *clock, tzinfo=UTC)
                if moment >= START:
                    yield moment
        day += timedelta(days=1)


def lengths(step: timedelta | relativedelta) -> Iterator[datetime]:
    count = 0
    while True:
        yield START + count * step
        count += 1


def of_series(schedule: Any) -> list[datetime]:
    dates = Series(timetable=Timetable(schedule=schedule_text(schedule, "2")), start=START)
    found = dates.next()
    result = []
    while found and len(result) < COUNT:
        result.append(found.logical_date)
        found = dates.next(found.logical_date)
    return result


@pytest.mark.parametrize("expression", CRONS)
def test_the_next_dates_of_a_cron_expression_are_those_that_counting_finds(expression: str) -> None:
    assert of_series(expression) == list(islice(counted(expression.strip()), COUNT))


@pytest.mark.parametrize("step", [
    timedelta(days=1), timedelta(minutes=5), timedelta(seconds=0.5), timedelta(days=7, hours=1), relativedelta(months=1), relativedelta(days=+1, hours=2),
    relativedelta(years=1),
])
def test_the_next_dates_of_a_length_of_time_are_counted_from_the_start(step: timedelta | relativedelta) -> None:
    assert of_series(step) == list(islice(lengths(step), COUNT))
