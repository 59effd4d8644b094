"""Days of the week as authors name them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rqflow.dag.airflow.constants import WeekDay
from rqflow.dag.problems import report
from rqflow.dag.task import BaseOperator


def read_weekdays(task: BaseOperator, given: Any) -> list[int]:
    """Return the numbers (Monday is 1) of one day or several, each a name or a WeekDay; reports what is none."""
    found = set()
    for one in given if isinstance(given, Collection) and not isinstance(given, str) else [given]:
        name = one.name if isinstance(one, WeekDay) else str(one).strip().upper()
        if name not in WeekDay.__members__:
            days = ", ".join(day.name.capitalize() for day in WeekDay)
            report(f"task {task.task_id}: week_day={one!r} must be one of {days}", task.origin)
        else:
            found.add(int(WeekDay[name]))
    if not found and isinstance(given, Collection) and not given:
        report(f"task {task.task_id}: week_day names no day", task.origin)
    return sorted(found)
