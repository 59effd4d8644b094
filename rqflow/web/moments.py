"""Dates and times that people type into fields."""

from __future__ import annotations

from datetime import datetime

from rqflow import clock
from rqflow.exceptions import UsageError


def given_moment(text: str, what: str) -> datetime | None:
    """Return the date, or date and time, of the field `what`, in UTC where it names no zone; None for an empty one. Raises UsageError."""
    if not text.strip():
        return None
    try:
        return clock.aware(datetime.fromisoformat(text.strip()))
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{what}: {text[:50]!r} is no date and time", hint="Write it like 2026-11-23 or 2026-11-23T14:00.") from error
