"""Places of what charts show, for templates that draw them as SVG. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rqflow.actions.gantt import tick_words
from rqflow.actions.sights.charts import Point, Scatter, Series
from rqflow.states import TERMINAL_RUN_STATES

#: Seconds at which the axis of durations may have its lines, and moments between which that of times may.
_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200)
_DAY = 86400
_SPANS = (1, 5, 15, 30, 60, 120, 300, 900, 1800, 3600, 10800, 21600, 43200, _DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY, 30 * _DAY, 90 * _DAY, 365 * _DAY)
#: Lines that an axis has at most.
_LINES = 6


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of an axis: where, and what stands at it."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A run in the scatter: its place, and the run."""

    x: float
    y: float
    point: Point


@dataclass(frozen=True, kw_only=True, slots=True)
class ScatterChart:
    """Runs by when they began and how long they took, in units of the drawing."""

    width: float
    height: float
    marks: tuple[Mark, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    #: Height at which the median lies; None: there is none.
    median: float | None


@dataclass(frozen=True, slots=True)
class Bar:
    """A run of a task: its place and height, and its number among the runs; `is_long`: it is higher than the drawing."""

    x: float
    height: float
    place: int
    is_long: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Bars:
    """A task over runs."""

    bars: tuple[Bar, ...]
    #: Height at which the median lies; None: there is none.
    median: float | None
    last: float | None
    longest: float | None


def lengths(longest: float) -> list[float]:
    """Return seconds for the lines of an axis from 0 to `longest`."""
    step = next((one for one in _SECONDS if longest / one <= _LINES), None)
    if step is None:
        step = _DAY * max(round(longest / _DAY / _LINES), 1)
    return [step * number for number in range(1, int(longest / step) + 1)]


def moments(first: datetime, last: datetime) -> list[datetime]:
    """Return moments for the lines of an axis of time, on whole minutes, hours or days of UTC."""
    seconds = (last - first).total_seconds()
    span = next((one for one in _SPANS if seconds / one <= _LINES), _SPANS[-1])
    begin = datetime.fromtimestamp((first.timestamp() // span + 1) * span, UTC)
    return [begin + timedelta(seconds=span * number) for number in range(_LINES + 1) if begin + timedelta(seconds=span * number) <= last]


def scatter_chart(found: Scatter, width: float = 1000, height: float = 220) -> ScatterChart | None:
    """Return where the runs stand; None when none has started. One that goes on for longer than all others took stands at the upper edge."""
    if not found.points:
        return None
    first, last = found.points[0].started_at, found.points[-1].started_at
    span = max((last - first).total_seconds(), 1.0)
    ended = [point.duration for point in found.points if point.state in TERMINAL_RUN_STATES]
    longest = max(max(ended or [point.duration for point in found.points]), 0.001) * 1.05

    def across(moment: datetime) -> float:
        return round((moment - first).total_seconds() / span * width, 1)

    def up(seconds: float) -> float:
        return round(height - min(seconds / longest, 1.0) * height, 1)

    words = "%H:%M:%S" if span < 300 else "%H:%M" if span < _DAY else "%m-%d %H:%M" if span < 3 * _DAY else "%Y-%m-%d"
    return ScatterChart(
        width=width, height=height, marks=tuple(Mark(across(point.started_at), up(point.duration), point) for point in found.points),
        across=tuple(Tick(across(moment), moment.strftime(words)) for moment in moments(first, last)),
        up=tuple(Tick(up(seconds), tick_words(seconds)) for seconds in lengths(longest)),
        median=None if found.median is None else up(found.median))


def bars_of(series: Series, runs: int, width: float, height: float) -> Bars:
    """Return a task's bars over so many runs. One that takes more than four times as long as the median does not make the others flat."""
    known = [duration for duration in series.durations if duration is not None]
    longest = max(known, default=None)
    top = longest or 1.0
    if series.median and longest and longest > 4 * series.median:
        top = 4 * series.median
    step = width / max(runs, 1)
    bars = tuple(Bar(round(place * step, 2), round(max(min(duration / top, 1.0) * height, 1.0), 1), place, duration > top)
                 for place, duration in enumerate(series.durations) if duration is not None)
    median = None if series.median is None else round(height - min(series.median / top, 1.0) * height, 1)
    return Bars(bars=bars, median=median, last=known[-1] if known else None, longest=longest)


def bar_width(runs: int, width: float) -> float:
    """Return how wide a bar is where so many stand side by side."""
    return round(max(width / max(runs, 1) - 1.5, 1.0), 2)
