"""Parameter types of the command line: durations, times, numbers of past runs, signals."""

from __future__ import annotations

import signal
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import click

from rqflow.clock import UTC, utcnow
from rqflow.values import parse_duration

#: Signals that people send to tasks.
SIGNALS = ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "ABRT", "KILL")


#: What fits every column of a database.
MOST = 2**31 - 1
#: Years that every database keeps, and around which intervals fit.
YEARS = range(1000, 9001)


class Count(click.ParamType[int]):
    """A number of things, from `least` on."""

    name = "integer"

    def __init__(self, least: int) -> None:
        """Take the least number that there may be."""
        self.least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number; fails as a usage error."""
        try:
            number = int(value)
        except ValueError:
            self.fail(f"{value!r} is not a valid integer", param, ctx)
        if not self.least <= number <= MOST:
            self.fail(f"{number} is not in the range from {self.least} to {MOST}", param, ctx)
        return number


class Duration(click.ParamType[timedelta]):
    """A length of time: 90s, 15m, 2h, 7d, 1h30m."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the length; fails as a usage error."""
        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(value)
        except (ValueError, OverflowError) as error:  # the latter: of more days than Python counts
            self.fail(str(error), param, ctx)


class Moment(click.ParamType[datetime]):
    """A time: ISO 8601 (UTC unless it says otherwise), now, yesterday, or a length of time before now: -2h, 7d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the aware time; fails as a usage error."""
        if isinstance(value, datetime):
            return value
        try:
            return within_years(moment(value, utcnow()))
        except (ValueError, OverflowError):  # the latter: before the year 1
            self.fail(f"{value!r} is no time: write it like 2026-11-23, 2026-11-23T08:00+01:00, now, yesterday, -2h or 7d; "
                      f"the year is from {YEARS[0]} to {YEARS[-1]}", param, ctx)


class ScheduledDate(click.ParamType[datetime]):
    """The date of a schedule: as Moment, but one without a zone is left so, because it is meant by the clock of a DAG."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the time, naive when it names no zone; fails as a usage error."""
        if isinstance(value, datetime):
            return value
        with suppress(ValueError):
            return within_years(datetime.fromisoformat(value))
        return MOMENT.convert(value, param, ctx)


class PastRuns(click.ParamType[str]):
    """How many past runs: a number, all, none."""

    name = "past runs"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word, or the number as text; fails as a usage error."""
        if value not in {"all", "none"} and not (str(value).isdecimal() and str(value).isascii()):
            self.fail(f"{value!r} is neither a number nor all or none", param, ctx)
        return str(value)


class Signal(click.ParamType[int]):
    """A signal that ends or nudges a process, by its name: TERM, INT, USR1, with or without SIG."""

    name = "signal"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return its number; fails as a usage error."""
        if isinstance(value, int):
            return value
        word = str(value).upper().removeprefix("SIG")
        if word not in SIGNALS:
            self.fail(f"{value!r} is none of {', '.join(SIGNALS)}", param, ctx)
        return int(signal.Signals[f"SIG{word}"])


def moment(text: str, now: datetime) -> datetime:
    """Return the time that `text` names, seen from `now`; raises ValueError, or OverflowError for one before the year 1."""
    if text == "now":
        return now
    if text == "yesterday":
        return now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return now - parse_duration(text.removeprefix("-"))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def within_years(found: datetime) -> datetime:
    """Return a time that lies within YEARS; raises ValueError for another one."""
    if found.year not in YEARS:
        raise ValueError(f"{found.isoformat()} lies outside the years {YEARS[0]} to {YEARS[-1]}")
    return found


def is_moment(text: str) -> bool:
    """Tell whether `text` names a time."""
    try:
        moment(text, utcnow())
    except (ValueError, OverflowError):
        return False
    return True


DURATION, MOMENT, SCHEDULED_DATE, PAST_RUNS, SIGNAL = Duration(), Moment(), ScheduledDate(), PastRuns(), Signal()
#: A number of things that there are, and one that may be none.
COUNT, COUNT_OR_NONE = Count(1), Count(0)
