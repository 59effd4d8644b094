"""Schedules in words. Pure."""

from __future__ import annotations

from functools import lru_cache

from cron_descriptor import ExpressionDescriptor, Options
from cron_descriptor.Exception import FormatError, MissingFieldError, WrongArgumentError

from rqflow.dag import timetable

_NAMED = {"@once": "once", "@continuous": "again as soon as it has ended", "@hourly": "every hour", "@daily": "every day at 00:00",
          "@midnight": "every day at 00:00", "@weekly": "every Sunday at 00:00", "@monthly": "on the 1st of every month at 00:00",
          "@quarterly": "on the 1st of every third month at 00:00", "@yearly": "every 1 January at 00:00", "@annually": "every 1 January at 00:00"}
_UNITS = (("week", 604800), ("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


@lru_cache(maxsize=4096)
def words(schedule: str | None, timezone: str = "UTC") -> str:
    """Return a schedule, as it is kept with a DAG, in words, with its time zone where that matters and is not UTC; its text where there are none."""
    plain = timetable.plain(schedule)
    if not plain:
        return "only by hand"
    if plain.startswith(timetable.UNSUPPORTED):
        return f"a schedule that rqflow cannot read: {plain.removeprefix(timetable.UNSUPPORTED)}"
    if plain.startswith("timedelta:"):
        return f"every {_length(float(plain.partition(':')[2]))}"
    if plain.startswith("relativedelta:"):
        return f"every {_relative(plain.partition(':')[2])}"
    said = _NAMED.get(plain) or _cron(plain)
    is_local = timezone != "UTC" and plain not in {timetable.ONCE, timetable.CONTINUOUS}
    return f"{said} ({timezone})" if is_local else said


def _length(seconds: float) -> str:
    """Return a length of time, the largest unit first: 2 days, 1 hour 30 minutes."""
    found, rest = [], int(seconds)
    for name, size in _UNITS[1:] if rest % _UNITS[0][1] else _UNITS:
        number, rest = divmod(rest, size)
        if number:
            found.append(_counted(number, name))
    if seconds != int(seconds):
        return f"{seconds:g} seconds"
    return found[0].removeprefix("1 ") if len(found) == 1 else " ".join(found)


def _relative(text: str) -> str:
    parts = [part.partition("=") for part in text.split(",")]
    found = [_counted(int(number), name.removesuffix("s")) for name, _, number in parts]
    return found[0].removeprefix("1 ") if len(found) == 1 else " ".join(found)


def _counted(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def _cron(expression: str) -> str:
    """Return a cron expression in words; six fields have the seconds last, which the library wants first."""
    fields = expression.split()
    ordered = " ".join([fields[-1], *fields[:-1]]) if len(fields) == 6 else expression
    options = Options()
    options.use_24hour_time_format, options.locale_code = True, "en_US"
    try:
        said = str(ExpressionDescriptor(ordered, options).get_description())
    except (FormatError, MissingFieldError, WrongArgumentError):
        return expression
    return said[:1].lower() + said[1:]
