"""airflow.utils.dates and airflow.utils.timezone: the dates of DAG files."""

from __future__ import annotations

import datetime as dt
from typing import Any

from dateutil import parser

from rqflow import clock
from rqflow.dag import zones
from rqflow.dag.moments import moment
from rqflow.dag.timetable import PRESETS, zone

utc = dt.UTC
cron_presets = dict(PRESETS)


def days_ago(n: float, hour: int = 0, minute: int = 0, second: int = 0, microsecond: int = 0) -> dt.datetime:
    """Return the midnight, or the given time of the day, of UTC `n` days ago."""
    today = clock.utcnow().replace(hour=hour, minute=minute, second=second, microsecond=microsecond)
    return today - dt.timedelta(days=n)


def utcnow() -> dt.datetime:
    """Return the time now in UTC."""
    return moment(clock.utcnow())


def datetime(*args: Any, **kwargs: Any) -> dt.datetime:
    """Return a datetime, in core.default_timezone when no tzinfo is given."""
    made = dt.datetime(*args, **kwargs)  # noqa: DTZ001 (the next line sees to it)
    return made if made.tzinfo else made.replace(tzinfo=zones.assumed())


def parse(string: str, timezone: Any = None, **_: Any) -> dt.datetime:
    """Return the date that `string` says, in `timezone` or core.default_timezone when it names none."""
    at: dt.datetime = make_aware(parser.parse(string), timezone)
    return at


def make_aware(value: dt.datetime | None, timezone: Any = None) -> Any:
    """Return `value` with a time zone: its own, else `timezone` or core.default_timezone."""
    if value is None:
        return None
    if value.tzinfo is not None:
        return value
    return value.replace(tzinfo=zone(timezone) if isinstance(timezone, str) else timezone or zones.assumed())


def make_naive(value: dt.datetime, timezone: Any = None) -> dt.datetime:
    """Return `value` by the wall clock of `timezone`, core.default_timezone by default, without it."""
    return value.astimezone(zone(timezone) if isinstance(timezone, str) else timezone or zones.assumed()).replace(tzinfo=None)


def is_localized(value: dt.datetime) -> bool:
    """Tell whether `value` has a time zone."""
    return value.utcoffset() is not None


def is_naive(value: dt.datetime) -> bool:
    """Tell whether `value` has no time zone."""
    return value.utcoffset() is None


def convert_to_utc(value: dt.datetime | None) -> dt.datetime | None:
    """Return the same moment in UTC; a naive `value` is meant in core.default_timezone."""
    return None if value is None else moment(make_aware(value))


coerce_datetime = convert_to_utc
