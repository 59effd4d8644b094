"""A run on an axis of time: what each task did when, in segments, and the same by worker. Pure; lengths are seconds since `Timeline.start`.

A segment is `queued` (all that it depends on has ended, no worker has it yet), `running`, or `retry` (between two tries: the delay, and the queue).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rqflow.actions.gantt import SHORTEST, axis
from rqflow.actions.model import Run, TaskInstance, Try
from rqflow.dag.version import Version
from rqflow.states import TERMINAL_STATES, TaskState

QUEUED, RUNNING, RETRY = "queued", "running", "retry"
#: States in which a task waits for a worker, or for its next try.
_WAITS = {TaskState.QUEUED: QUEUED, TaskState.PARKED: QUEUED, TaskState.UP_FOR_RETRY: RETRY, TaskState.UP_FOR_RESCHEDULE: RETRY}


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A stretch of time in the life of a task."""

    #: queued, running or retry.
    kind: str
    #: The try that it is of, or leads to.
    try_number: int
    #: How the try ended, or running; of a wait the state of the task.
    state: TaskState
    start: float
    seconds: float
    #: True: it goes on.
    is_open: bool = False
    worker: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class TimelineRow:
    """A task."""

    task_id: str
    group_id: str
    state: TaskState
    segments: tuple[Segment, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneBar:
    """A try that a worker had."""

    task_id: str
    try_number: int
    state: TaskState
    start: float
    seconds: float
    #: Bars of one track, from 0, do not overlap.
    track: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Lane:
    """A worker with all that it did."""

    worker: str
    tracks: int
    bars: tuple[LaneBar, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """The rows in the order in which they began; tasks that never waited for a worker have none."""

    #: Where the axis begins, how long it is, and where `now` is on it; None: the run has ended.
    start: datetime
    seconds: float
    now: float | None
    #: Where lines stand on the axis.
    ticks: tuple[float, ...]
    rows: tuple[TimelineRow, ...]
    lanes: tuple[Lane, ...]


def timeline(run: Run, version: Version | None, now: datetime) -> Timeline:
    """Return the timeline of a run with its tries, as query.show gives it; what has not ended reaches up to `now`."""
    moments = [one.started_at for task in run.tasks for one in task.tries if one.started_at]
    begin = min([*moments, *([run.started_at] if run.started_at else [])], default=run.created_at or now)
    ends = {task.task_id: max((one.ended_at for one in task.tries if one.ended_at), default=task.ended_at)
            for task in run.tasks if task.state in TERMINAL_STATES}
    axis_ = _Axis(begin, now)
    rows = []
    for task in run.tasks:
        segments = _segments(task, _ready_at(task, version, ends, begin), axis_)
        if segments:
            group_id = version.by_id[task.task_id].group_id if version and task.task_id in version.by_id else ""
            rows.append(TimelineRow(task_id=task.task_id, group_id=group_id, state=task.state, segments=segments))
    rows.sort(key=lambda row: row.segments[0].start)
    here = max((now - begin).total_seconds(), 0.0)
    last = max((segment.start + segment.seconds for row in rows for segment in row.segments), default=0.0)
    seconds = max(last if run.is_finished else here, SHORTEST)
    return Timeline(start=begin, seconds=seconds, now=None if run.is_finished else here, ticks=axis(seconds), rows=tuple(rows), lanes=_lanes(rows))


class _Axis:
    """Where moments are on the axis."""

    def __init__(self, start: datetime, now: datetime) -> None:
        self.start, self.now = start, now

    def segment(self, kind: str, number: int, state: TaskState, since: datetime, until: datetime | None, of: Try | None = None) -> Segment:
        end = max(until or self.now, since)
        return Segment(kind=kind, try_number=number, state=state, start=(since - self.start).total_seconds(), seconds=(end - since).total_seconds(),
                       is_open=until is None, worker=of.worker if of else "", reason=of.reason if of else "")


def _ready_at(task: TaskInstance, version: Version | None, ends: dict[str, datetime | None], begin: datetime) -> datetime:
    """Return when all had ended that a task depends on, as far as its first try does not contradict it."""
    spec = version.by_id.get(task.task_id) if version else None
    upstream = [end for up in spec.upstream if (end := ends.get(version.tasks[up].task_id))] if spec and version else []
    return max([*upstream, begin])


def _segments(task: TaskInstance, ready_at: datetime, axis_: _Axis) -> tuple[Segment, ...]:
    begun = [one for one in task.tries if one.started_at]
    found: list[Segment] = []
    if begun and begun[0].started_at and begun[0].started_at > ready_at:
        found.append(axis_.segment(QUEUED, begun[0].try_number, TaskState.QUEUED, ready_at, begun[0].started_at))
    before: datetime | None = None
    for one in begun:
        since = one.started_at or axis_.now
        if before is not None and before < since:
            found.append(axis_.segment(RETRY, one.try_number, TaskState.UP_FOR_RETRY, before, since))
        found.append(axis_.segment(RUNNING, one.try_number, one.state, since, _end(one), one))
        before = one.ended_at
    if kind := _WAITS.get(task.state):
        waits_since = task.queued_at or (begun[-1].ended_at if begun else None) or ready_at
        number = task.try_number + 1 if task.state is TaskState.UP_FOR_RETRY else max(task.try_number, 1)
        found.append(axis_.segment(kind, number, task.state, waits_since, None))
    return tuple(found)


def _end(one: Try) -> datetime | None:
    """Return when a try ended; None: it runs. One of whose end nothing is known has no length."""
    return one.ended_at or (None if one.state is TaskState.RUNNING else one.started_at)


def _lanes(rows: Sequence[TimelineRow]) -> tuple[Lane, ...]:
    bars: dict[str, list[tuple[float, TimelineRow, Segment]]] = {}
    for row in rows:
        for segment in row.segments:
            if segment.kind == RUNNING:
                bars.setdefault(segment.worker, []).append((segment.start, row, segment))
    return tuple(_lane(worker, sorted(found, key=lambda bar: bar[0])) for worker, found in sorted(bars.items()))


def _lane(worker: str, found: Sequence[tuple[float, TimelineRow, Segment]]) -> Lane:
    """Put each bar on the first track that is free by then."""
    free: list[float] = []
    bars = []
    for start, row, segment in found:
        track = next((number for number, until in enumerate(free) if until <= start), len(free))
        if track == len(free):
            free.append(0.0)
        free[track] = start + segment.seconds
        bars.append(LaneBar(task_id=row.task_id, try_number=segment.try_number, state=segment.state, start=start, seconds=segment.seconds,
                            track=track))
    return Lane(worker=worker, tracks=len(free), bars=tuple(bars))
