"""What runs and tasks took, for charts: bounded, the newest first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import func, select

from rqflow.store.engine import Connection
from rqflow.store.tables import task_try

#: Runs at whose tasks is looked when none is named.
LOOKED_AT = 3


class Measure(NamedTuple):
    """What the tries of one task in one run took together; a tuple, for there may be thousands."""

    run_key: str
    task_id: str
    tries: int
    #: Of the last try that has ended.
    started_at: datetime | None
    ended_at: datetime | None
    #: The most of all tries, and the sum; None: no worker told.
    max_rss_bytes: int | None
    cpu_seconds: float | None


def of_tasks(connection: Connection, run_keys: Collection[str], task_ids: Collection[str]) -> list[Measure]:
    """Return what these tasks took in these runs, those of one try and those of several."""
    own = task_try.c
    if not run_keys or not task_ids:
        return []
    most = (func.max(column) for column in (own.started_at, own.ended_at, own.max_rss_bytes))
    query = select(own.run_key, own.task_id, func.count(), *most, func.sum(own.cpu_seconds))
    query = query.where(own.run_key.in_(list(run_keys)), own.task_id.in_(list(task_ids)), own.ended_at.is_not(None))
    return [Measure(*row) for row in connection.execute(query.group_by(own.run_key, own.task_id))]


class Use(NamedTuple):
    """What one task took over some runs."""

    task_id: str
    runs: int
    max_rss_bytes: int | None
    #: The mean of a run.
    cpu_seconds: float | None


def use_of_tasks(connection: Connection, run_keys: Collection[str]) -> list[Use]:
    """Return what each task took over these runs."""
    own = task_try.c
    if not run_keys:
        return []
    runs = func.count(func.distinct(own.run_key))
    query = select(own.task_id, runs, func.max(own.max_rss_bytes), func.sum(own.cpu_seconds)).where(own.run_key.in_(list(run_keys)))
    return [Use(task_id, number, rss, None if cpu is None else cpu / number)
            for task_id, number, rss, cpu in connection.execute(query.group_by(own.task_id))]


def longest(connection: Connection, run_keys: Sequence[str]) -> list[str]:
    """Return tasks, those first whose last try took longest in the newest of these runs, the last one being the newest.

    Where that one tells of fewer, as it goes on or failed early, the runs before it tell of the others.
    """
    keys = list(run_keys[-LOOKED_AT:])
    rows = connection.execute(select(task_try.c.run_key, task_try.c.task_id, task_try.c.try_number, task_try.c.started_at, task_try.c.ended_at).where(
        task_try.c.run_key.in_(keys), task_try.c.ended_at.is_not(None), task_try.c.started_at.is_not(None)))
    place = {key: number for number, key in enumerate(keys)}
    newest: dict[str, tuple[tuple[int, int], timedelta]] = {}
    for key, task_id, number, started_at, ended_at in rows:
        at = place[key], number
        if task_id not in newest or newest[task_id][0] < at:
            newest[task_id] = at, ended_at - started_at
    return sorted(newest, key=lambda task_id: (-newest[task_id][1], task_id))
