"""Charts of a DAG: when its runs began and how long they took, how long tasks take from run to run, what memory and CPU they use. All bounded."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rqflow import clock
from rqflow.actions.model import seconds_between
from rqflow.actions.sights.outline import OUTLINES
from rqflow.actions.sights.overlay import Overlaid, laid_over
from rqflow.broker.broker import Broker
from rqflow.exceptions import TaskNotFound
from rqflow.states import RunState
from rqflow.store import dags, measures, run_lines
from rqflow.store.engine import Engine, reading
from rqflow.store.run_lines import Wanted

#: Points of the scatter; runs over which tasks are compared; tasks that are compared when none is named, and at most.
SCATTER, RUNS, TASKS, MOST_TASKS = 500, 25, 10, 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A run."""

    run_key: str
    run_id: str
    run_type: str | None
    state: RunState
    started_at: datetime
    #: Seconds, until now while it goes on.
    duration: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Scatter:
    """Runs by when they began, the oldest first."""

    dag_id: str
    points: tuple[Point, ...]
    #: Seconds: the median of those that ended well; None: none did.
    median: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """The run that stands at a place of a series."""

    run_key: str
    run_id: str
    state: RunState
    started_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """A task over runs; each list has a value a run, None where it did not run there, or nobody told."""

    task_id: str
    #: Seconds of the last try.
    durations: tuple[float | None, ...]
    tries: tuple[int | None, ...]
    max_rss_bytes: tuple[int | None, ...]
    #: Of all tries together.
    cpu_seconds: tuple[float | None, ...]
    #: Seconds; None: it ran in none of them.
    median: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskDurations:
    """Tasks over runs."""

    dag_id: str
    #: The oldest first.
    runs: tuple[Axis, ...]
    tasks: tuple[Series, ...]
    #: Tasks of the newest version, by which others can be chosen.
    task_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskUse:
    """What a task used over the runs that were looked at."""

    task_id: str
    runs: int
    #: The most of all tries.
    max_rss_bytes: int | None
    #: The mean of a run.
    cpu_seconds: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceUse:
    """What tasks used, those that used most memory first."""

    dag_id: str
    runs: int
    tasks: tuple[TaskUse, ...]


def scatter(broker: Broker | None, engine: Engine, dag_id: str, *, limit: int = SCATTER) -> Scatter:
    """Return the runs of a DAG that were made last and have started; raises DagNotFound."""
    overlaid, _ = _runs(broker, engine, dag_id, max(1, min(limit, SCATTER)))
    now = clock.utcnow()
    points = [Point(run_key=line.run_key, run_id=line.run_id, run_type=line.run_type, state=line.state, started_at=line.started_at,
                    duration=seconds_between(line.started_at, line.ended_at or now) or 0.0) for line in overlaid.lines if line.started_at]
    good = [point.duration for point in points if point.state is RunState.SUCCESS]
    return Scatter(dag_id=dag_id, points=tuple(sorted(points, key=lambda point: point.started_at)), median=statistics.median(good) if good else None)


def task_durations(broker: Broker | None, engine: Engine, dag_id: str, *, task_ids: Sequence[str] = (), limit: int = RUNS) -> TaskDurations:
    """Return how long these tasks took in the runs made last; those that took longest in the last of them when none is named.

    What goes on is told once it has ended. Raises DagNotFound, and TaskNotFound for a task that no version of these runs has.
    """
    overlaid, version = _runs(broker, engine, dag_id, max(1, min(limit, 100)))
    lines = overlaid.lines[::-1]
    outlines = OUTLINES.of(broker, engine, {version, *(line.version for line in lines)})
    known = {task_id for outline in outlines.values() for task_id in outline.task_ids}
    for task_id in task_ids:
        if task_id not in known:
            raise TaskNotFound(f"{dag_id} has no task {task_id}")
    newest = outlines.get(version or "")
    with reading(engine) as connection:
        keys = [line.run_key for line in lines]
        ended = sorted(lines, key=lambda line: line.is_finished)  # unfinished ones first, as they tell of some tasks only
        wanted = list(dict.fromkeys(task_ids))[:MOST_TASKS] or [
            task_id for task_id in measures.longest(connection, [line.run_key for line in ended])
            if newest is None or task_id in newest.task_ids][:TASKS]
        found = {(one.run_key, one.task_id): one for one in measures.of_tasks(connection, keys, wanted)}
    axis = tuple(Axis(run_key=line.run_key, run_id=line.run_id, state=line.state, started_at=line.started_at) for line in lines)
    return TaskDurations(dag_id=dag_id, runs=axis, tasks=tuple(_series(task_id, [found.get((key, task_id)) for key in keys]) for task_id in wanted),
                         task_ids=newest.task_ids if newest else ())


def _series(task_id: str, found: Sequence[measures.Measure | None]) -> Series:
    durations = [seconds_between(one.started_at, one.ended_at) if one else None for one in found]
    known = [duration for duration in durations if duration is not None]
    return Series(
        task_id=task_id, durations=tuple(durations), tries=tuple(one.tries if one else None for one in found),
        max_rss_bytes=tuple(one.max_rss_bytes if one else None for one in found),
        cpu_seconds=tuple(one.cpu_seconds if one else None for one in found), median=statistics.median(known) if known else None)


def resource_use(broker: Broker | None, engine: Engine, dag_id: str, *, limit: int = RUNS) -> ResourceUse:
    """Return what the tasks of a DAG used in the runs made last; raises DagNotFound."""
    overlaid, _ = _runs(broker, engine, dag_id, max(1, min(limit, 100)))
    with reading(engine) as connection:
        found = measures.use_of_tasks(connection, [line.run_key for line in overlaid.lines])
    tasks = [TaskUse(task_id=one.task_id, runs=one.runs, max_rss_bytes=one.max_rss_bytes, cpu_seconds=one.cpu_seconds) for one in found]
    tasks.sort(key=lambda one: (-(one.max_rss_bytes or 0), one.task_id))
    return ResourceUse(dag_id=dag_id, runs=len(overlaid.lines), tasks=tuple(tasks))


def _runs(broker: Broker | None, engine: Engine, dag_id: str, limit: int) -> tuple[Overlaid, str | None]:
    """Return the runs of a DAG that were made last, and its newest version."""
    with reading(engine) as connection:
        version = dags.find(connection, dag_id).version
        lines = run_lines.page(connection, Wanted(dag_id=dag_id), limit=limit)
    return laid_over(broker, engine, lines), version
