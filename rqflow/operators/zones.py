"""The time zone in which an author means times of the day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any

from rqflow.dag import timetable


def zone_of(context: Mapping[str, Any]) -> tzinfo:
    """Return the time zone of the DAG that a task's context is about."""
    return timetable.zone(str(getattr(context.get("dag"), "timezone", "UTC")))
