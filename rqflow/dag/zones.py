"""The time zone that dates and crons are meant in where a DAG file names none: core.default_timezone, as the process that loads the file is told."""

from __future__ import annotations

from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo

#: A zone of its own, so that it can be told from the same one named by a file.
_assumed: tzinfo = ZoneInfo.no_cache("UTC")


def assume(name: str) -> None:
    """Let dates without a zone be meant in the zone `name` from now on; raises zoneinfo.ZoneInfoNotFoundError."""
    global _assumed
    _assumed = ZoneInfo.no_cache(name)


def assumed() -> tzinfo:
    """Return the zone of dates that name none."""
    return _assumed


def is_assumed(moment: datetime | None) -> bool:
    """Tell whether the zone of a date, or where there is none that of a cron, was assumed and not named by the file."""
    return moment is None or moment.tzinfo is _assumed
