"""When the tries of a run began and ended, as bars on an axis of time. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rqflow.actions.model import Run, Try, duration_words
from rqflow.states import FAILURE_STATES, TaskState

#: Distances, in seconds, that lines on the axis may have, and at most so many lines.
_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
LINES = 10
DAY = 86400
#: Points: the width that the bars have, the height of one row, and the least width of a bar.
WIDTH, ROW, LEAST = 800.0, 18, 1.0
#: Seconds that an axis has at least.
SHORTEST = 0.01
COLOURS = {TaskState.SUCCESS: "#4caf50", TaskState.RUNNING: "#42a5f5", TaskState.SKIPPED: "#ce93d8", TaskState.UP_FOR_RETRY: "#ffb300",
           TaskState.UP_FOR_RESCHEDULE: "#80cbc4", TaskState.CANCELLED: "#9e9e9e"}
FAILED, OTHER = "#e53935", "#bdbdbd"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One try: where its bar stands, in points, and what is said of it."""

    x: float
    width: float
    colour: str
    title: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A task with the bars of its tries, `y` points below the top."""

    task_id: str
    y: int
    bars: tuple[Bar, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A line across the axis, and what stands below it: the time since the first try began."""

    x: float
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Gantt:
    """Rows in the order in which their first tries began; tasks without a try have none. Lengths are points."""

    rows: tuple[Row, ...]
    lines: tuple[Line, ...]
    #: Room for the names, and for all.
    names: int
    width: int
    height: int


def gantt(run: Run, now: datetime) -> Gantt:
    """Return the bars of a run; what has not ended reaches up to `now`."""
    begun = {task.task_id: [one for one in task.tries if one.started_at] for task in run.tasks}
    shown = sorted((name for name, tries in begun.items() if tries), key=lambda name: _start(begun[name][0], now))
    tries = [one for name in shown for one in begun[name]]
    first = min((_start(one, now) for one in tries), default=now)
    span = max((_end(one, now) for one in tries), default=now) - first
    seconds = max(span.total_seconds(), SHORTEST)
    scale = WIDTH / seconds
    rows = tuple(
        Row(task_id=name, y=number * ROW, bars=tuple(_bar(one, first, now, scale, name) for one in begun[name])) for number, name in enumerate(shown))
    names = 12 + 7 * max((len(name) for name in shown), default=0)
    lines = tuple(Line(x=at * scale, label=tick_words(at)) for at in axis(seconds))
    return Gantt(rows=rows, lines=lines, names=names, width=int(names + WIDTH) + 40, height=len(rows) * ROW + 24)


def _bar(one: Try, first: datetime, now: datetime, scale: float, task_id: str) -> Bar:
    start, end = _start(one, now), _end(one, now)
    took = (end - start).total_seconds()
    title = f"{task_id}, try {one.try_number}: {one.state.value}, {duration_words(took)}{f' on {one.host}' if one.host else ''}"
    colour = FAILED if one.state in FAILURE_STATES else COLOURS.get(one.state, OTHER)
    return Bar(x=(start - first).total_seconds() * scale, width=max(took * scale, LEAST), colour=colour, title=title)


def _start(one: Try, now: datetime) -> datetime:
    return one.started_at or now


def _end(one: Try, now: datetime) -> datetime:
    return max(one.ended_at or now, _start(one, now))


def _step(seconds: float) -> float:
    """Return the distance of the lines in seconds: one that people count in, whole days at last."""
    return next((step for step in _STEPS if seconds / step <= LINES), -(-int(seconds) // (LINES * DAY)) * DAY or DAY)


def axis(seconds: float) -> tuple[float, ...]:
    """Return where lines stand on an axis of so many seconds: from 0, at most some LINES of them."""
    step = _step(seconds)
    return tuple(round(number * step, 3) for number in range(int(seconds / step + 1e-9) + 1))


def tick_words(seconds: float) -> str:
    """Return what stands at a line of an axis: 0, 20ms, 0.5s, 5s, 1m30s, 2m, 3h."""
    if seconds == 0:
        return "0"
    if seconds < 0.1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 60:
        return f"{seconds:g}s"
    if seconds % 3600 == 0:
        return f"{seconds / 3600:g}h"
    return f"{seconds / 60:g}m" if seconds % 60 == 0 and seconds < 3600 else duration_words(seconds)


def legend(run: Run) -> Sequence[tuple[str, str]]:
    """Return (state, colour) of the tries that a run has."""
    states = dict.fromkeys(one.state for task in run.tasks for one in task.tries if one.started_at)
    return [(state.value, FAILED if state in FAILURE_STATES else COLOURS.get(state, OTHER)) for state in states]
