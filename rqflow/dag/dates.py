"""Dates that a file takes from the clock while it loads, like `datetime.now()` or `days_ago(2)`: they stay as they were while the file stays."""

from __future__ import annotations

from dataclasses import replace

from rqflow.dag.version import TaskSpec, Version

#: Of a DAG and of its tasks.
_DATES = ("start_date", "end_date")


def kept(new: Version, before: Version) -> Version:
    """Return `new` with the dates of `before`, which the same files and Variables gave at an earlier load."""
    if new.sha == before.sha:
        return new
    tasks = tuple(_task(task, before.by_id.get(task.task_id)) for task in new.tasks)
    given = {name: before.default_args[name] for name in _DATES if name in before.default_args and name in new.default_args}
    return replace(new, tasks=tasks, start_date=before.start_date, end_date=before.end_date, timezone=before.timezone,
                   default_args={**new.default_args, **given})


def _task(new: TaskSpec, before: TaskSpec | None) -> TaskSpec:
    return new if before is None else replace(new, start_date=before.start_date, end_date=before.end_date)
