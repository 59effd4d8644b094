"""Airflow's timetables that are a cron expression or a length of time, and say whether a run covers the interval before it or none."""

from __future__ import annotations

from datetime import timedelta, tzinfo
from typing import Any

from rqflow.dag.timetable import UNSUPPORTED, Rhythm, zone_name


class CronDataIntervalTimetable(Rhythm):
    """A run covers the time from one date of a cron expression to the next, and starts at its end."""

    def __init__(self, cron: str, timezone: str | tzinfo | None = None) -> None:
        """Take the expression and the zone in which it is meant."""
        super().__init__(cron, has_intervals=True, timezone=_zone(timezone))


class CronTriggerTimetable(Rhythm):
    """A run starts at each date of a cron expression, and covers nothing."""

    def __init__(self, cron: str, *, timezone: str | tzinfo | None = None, interval: Any = timedelta(0), **_: Any) -> None:
        """Take the expression and the zone in which it is meant; an `interval` that its runs cover is not supported."""
        super().__init__(_without_interval(cron, interval), has_intervals=False, timezone=_zone(timezone))


class DeltaDataIntervalTimetable(Rhythm):
    """A run covers a length of time, and starts at its end."""

    def __init__(self, delta: Any) -> None:
        """Take the length."""
        super().__init__(delta, has_intervals=True)


class DeltaTriggerTimetable(Rhythm):
    """A run starts after each length of time, and covers nothing."""

    def __init__(self, delta: Any, *, interval: Any = timedelta(0)) -> None:
        """Take the length; an `interval` that its runs cover is not supported."""
        super().__init__(_without_interval(delta, interval), has_intervals=False)


def _zone(timezone: str | tzinfo | None) -> str | None:
    return timezone if timezone is None or isinstance(timezone, str) else zone_name(timezone)


def _without_interval(schedule: Any, interval: Any) -> Any:
    """Return the schedule, or in its place the name of what rqflow cannot do."""
    return schedule if interval == timedelta(0) else f"{UNSUPPORTED}a trigger timetable with an interval"
