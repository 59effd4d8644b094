"""Dates as templates and callables see them: with what authors use of pendulum, whether it is installed or not.

With pendulum (extra `airflow`) a date is a `pendulum.DateTime`; without it a `PlainMoment`, which has the most used of its methods.
"""

from __future__ import annotations

import functools
import importlib
import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from zoneinfo import ZoneInfo

_UNITS = ("years", "months", "weeks", "days", "hours", "minutes", "seconds", "microseconds")
#: pendulum's format tokens -> ours of strftime, longest first.
_TOKENS = {
    "YYYY": "%Y", "YY": "%y", "MMMM": "%B", "MMM": "%b", "MM": "%m", "M": "%-m", "DDDD": "%j", "DD": "%d", "D": "%-d", "dddd": "%A",
    "ddd": "%a", "HH": "%H", "H": "%-H", "hh": "%I", "h": "%-I", "mm": "%M", "m": "%-M", "ss": "%S", "s": "%-S", "A": "%p", "ZZ": "%z",
}  # fmt: skip
_PARTS = ("month", "day", "hour", "minute", "second", "microsecond")
_FIRST = {"month": 1, "day": 1}


class PlainMoment(datetime):
    """A datetime with the methods of pendulum's DateTime that templates use most."""

    def __str__(self) -> str:
        """Return ISO 8601 with a blank, as pendulum 3 does."""
        return self.isoformat(" ")

    def add(self, **amounts: int) -> Self:
        """Return this date plus years, months, weeks, days, hours, minutes, seconds, microseconds; the day is cut to the month's last."""
        if unknown := amounts.keys() - set(_UNITS):
            raise TypeError(f"add() knows {', '.join(_UNITS)}, not {sorted(unknown)[0]}")
        months = self.year * 12 + self.month - 1 + 12 * amounts.pop("years", 0) + amounts.pop("months", 0)
        year, month = divmod(months, 12)
        day = min(self.day, monthrange(year, month + 1)[1])
        return self.replace(year=year, month=month + 1, day=day) + timedelta(**amounts)

    def subtract(self, **amounts: int) -> Self:
        """Return this date minus the amounts; see `add`."""
        return self.add(**{unit: -amount for unit, amount in amounts.items()})

    def in_timezone(self, tz: Any) -> Self:
        """Return the same moment in the zone `tz`, a name or a tzinfo."""
        return self.astimezone(ZoneInfo(tz) if isinstance(tz, str) else tz)

    in_tz = in_timezone

    def start_of(self, unit: str) -> Self:
        """Return the first moment of this date's year, month, week, day, hour, minute or second."""
        if unit == "week":
            return (self - timedelta(days=self.weekday())).start_of("day")
        names = ("year", *_PARTS)
        if unit not in names:
            raise ValueError(f"no unit {unit!r}: one of {', '.join(names[:-1])}, week")
        parts: dict[str, Any] = {part: _FIRST.get(part, 0) for part in _PARTS[names.index(unit) :]}
        return self.replace(**parts)

    def end_of(self, unit: str) -> Self:
        """Return the last microsecond of this date's year, month, week, day, hour, minute or second."""
        return self.start_of(unit).add(**{f"{unit}s": 1}) - timedelta(microseconds=1)

    def format(self, pattern: str) -> str:
        """Return this date by a pattern of pendulum's tokens: YYYY-MM-DD HH:mm:ss and the like, [text] to the letter."""
        tokens = "|".join(_TOKENS)
        return re.sub(rf"\[([^\]]*)\]|({tokens})", lambda m: self.strftime(_TOKENS[m[2]]) if m[2] else m[1], pattern)

    def set(self, **parts: Any) -> Self:
        """Return this date with some parts replaced."""
        return self.replace(**parts)

    def to_date_string(self) -> str:
        """Return YYYY-MM-DD."""
        return self.strftime("%Y-%m-%d")

    def to_time_string(self) -> str:
        """Return HH:MM:SS."""
        return self.strftime("%H:%M:%S")

    def to_datetime_string(self) -> str:
        """Return YYYY-MM-DD HH:MM:SS."""
        return self.strftime("%Y-%m-%d %H:%M:%S")

    def to_iso8601_string(self) -> str:
        """Return ISO 8601, UTC as Z."""
        return self.isoformat().replace("+00:00", "Z")

    @property
    def int_timestamp(self) -> int:
        """Seconds since the epoch."""
        return int(self.timestamp())

    @property
    def float_timestamp(self) -> float:
        """Seconds since the epoch, with fraction."""
        return self.timestamp()

    @property
    def timezone_name(self) -> str:
        """The name of the time zone."""
        return str(self.tzinfo)

    @property
    def day_of_week(self) -> int:
        """The weekday, Monday = 0."""
        return self.weekday()

    @property
    def day_of_year(self) -> int:
        """The day of the year from 1."""
        return self.timetuple().tm_yday

    @property
    def week_of_year(self) -> int:
        """The ISO week."""
        return self.isocalendar().week

    @property
    def quarter(self) -> int:
        """The quarter from 1."""
        return (self.month + 2) // 3


@functools.cache
def moment_class(generation: str) -> type[datetime]:
    """Return the class of dates for DAG files of a generation; those of 1 print as ISO 8601 with a T, as pendulum 1 and 2 did."""
    base: Any
    try:
        # Here, since it is optional and takes 40 ms.
        base = importlib.import_module("pendulum").DateTime
    except ImportError:
        base = PlainMoment
    if generation != "1":
        return base  # type: ignore[no-any-return]
    return type("Moment", (base,), {"__str__": lambda self: self.isoformat(), "__doc__": "A date of Airflow 1."})


def moment(value: datetime, generation: str = "2") -> datetime:
    """Return the aware `value` in UTC as authors of a generation expect dates."""
    kind = moment_class(generation)
    at = value.astimezone(UTC)
    return kind(at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond, tzinfo=_utc())


@functools.cache
def _utc() -> Any:
    """Return UTC as the class of dates wants it."""
    return UTC if issubclass(moment_class("2"), PlainMoment) else importlib.import_module("pendulum").UTC
