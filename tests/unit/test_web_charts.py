"""Where charts put what they show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqflow.actions.sights.charts import Point, Scatter, Series
from rqflow.states import RunState
from rqflow.web import charts

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)


def a_scatter(*points: tuple[float, float]) -> Scatter:
    """Runs that began so many seconds after BEGIN and took so many."""
    made = sorted(points)
    return Scatter(dag_id="d", median=made[0][1] if made else None, points=tuple(
        Point(run_key=str(place), run_id="r", run_type=None, state=RunState.SUCCESS, started_at=BEGIN + timedelta(seconds=at), duration=took)
        for place, (at, took) in enumerate(made)))


@given(st.lists(st.tuples(st.floats(0, 1e9), st.floats(0, 1e7)), min_size=1, max_size=40))
def test_all_runs_lie_within_the_drawing_and_longer_ones_higher(points: list[tuple[float, float]]) -> None:
    found = charts.scatter_chart(a_scatter(*points))
    assert found
    assert all(0 <= mark.x <= found.width and 0 <= mark.y <= found.height for mark in found.marks)
    by_length = sorted(found.marks, key=lambda mark: mark.point.duration)
    assert [mark.y for mark in by_length] == sorted((mark.y for mark in by_length), reverse=True)
    assert all(0 <= tick.at <= found.height for tick in found.up)
    assert all(0 <= tick.at <= found.width for tick in found.across)


def test_nothing_is_drawn_of_no_runs() -> None:
    assert charts.scatter_chart(a_scatter()) is None


@pytest.mark.parametrize("longest", [0.3, 7.0, 59.0, 61.0, 3_000.0, 90_000.0, 5e6])
def test_an_axis_of_durations_has_a_few_lines(longest: float) -> None:
    assert 2 <= len(charts.lengths(longest)) <= 7


@pytest.mark.parametrize("seconds", [10, 100, 1_000, 10_000, 100_000, 1e6, 1e7, 1e8])
def test_an_axis_of_time_has_a_few_whole_moments(seconds: float) -> None:
    found = charts.moments(BEGIN + timedelta(seconds=0.5), BEGIN + timedelta(seconds=seconds))
    assert 2 <= len(found) <= 7
    assert all(moment.microsecond == 0 for moment in found)


def a_series(*durations: float | None, median: float | None) -> Series:
    none = (None,) * len(durations)
    return Series(task_id="t", durations=durations, tries=none, max_rss_bytes=none, cpu_seconds=none, median=median)


def test_bars_stand_at_the_places_of_their_runs_and_one_that_hung_does_not_make_the_others_flat() -> None:
    found = charts.bars_of(a_series(1.0, None, 2.0, 1000.0, median=2.0), 4, 100, 40)
    assert [(bar.x, bar.height, bar.place, bar.is_long) for bar in found.bars] == [(0.0, 5.0, 0, False), (50.0, 10.0, 2, False), (75.0, 40.0, 3, True)]
    assert (found.median, found.last, found.longest) == (30.0, 1000.0, 1000.0)
    assert charts.bars_of(a_series(None, median=None), 1, 100, 40).bars == ()
