"""Charts of a DAG: bounded, and right for runs of which nothing is recorded yet."""

from __future__ import annotations

import json

import pytest

from rqflow.actions.model import plain
from rqflow.actions.sights.charts import resource_use, scatter, task_durations
from rqflow.exceptions import DagNotFound, TaskNotFound
from rqflow.states import RunState, TaskState
from tests.integration.actions.hub import Hub
from tests.integration.actions.sights.conftest import Counted
from tests.integration.broker import playing
from tests.unit.builders import a_version

ONE = pytest.mark.parametrize("database", ["sqlite"])


def run_tasks(hub: Hub, rss: int) -> None:
    """Run all that can run; each try tells that it used so much."""
    while claims := playing.claim(hub.broker):
        for claim in claims:
            playing.tell(hub.broker, playing.end(claim, facts={"max_rss_bytes": rss, "cpu_seconds": 1.5}))


def test_runs_are_points_as_they_are_now(hub: Hub) -> None:
    version = a_version(["a"], dag_id="d", max_active_runs=1)
    ended = hub.start(version)
    playing.play(hub.broker)
    hub.forget(ended)
    hub.start(version, day=1)
    playing.play(hub.broker, {"a": TaskState.FAILED})
    hub.start(version, day=2)
    hub.start(version, day=3)
    found = scatter(hub.broker, hub.engine, "d")
    assert [point.state for point in found.points] == [RunState.SUCCESS, RunState.FAILED, RunState.RUNNING], "the one that waits has not begun"
    assert found.points[0].duration == found.median
    assert len(scatter(hub.broker, hub.engine, "d", limit=2).points) == 1
    json.dumps(plain(found))


def test_tasks_are_compared_from_run_to_run(hub: Hub) -> None:
    old, new = a_version(["a", "gone"], dag_id="d"), a_version({"a": [], "new": ["a"]}, dag_id="d")
    for day, version in enumerate((old, new)):
        hub.start(version, day=day)
        run_tasks(hub, rss=1000 * (day + 1))
    hub.record()
    found = task_durations(hub.broker, hub.engine, "d", task_ids=["a", "gone"])
    assert [axis.state for axis in found.runs] == [RunState.SUCCESS, RunState.SUCCESS]
    assert [(series.task_id, series.max_rss_bytes, series.tries, series.cpu_seconds) for series in found.tasks] == [
        ("a", (1000, 2000), (1, 1), (1.5, 1.5)), ("gone", (1000, None), (1, None), (1.5, None))]
    assert found.tasks[0].median is not None
    assert found.task_ids == ("a", "new")
    assert {series.task_id for series in task_durations(hub.broker, hub.engine, "d").tasks} == {"a", "new"}
    used = resource_use(hub.broker, hub.engine, "d")
    assert [(one.task_id, one.runs, one.max_rss_bytes, one.cpu_seconds) for one in used.tasks] == [
        ("a", 2, 2000, 1.5), ("new", 1, 2000, 1.5), ("gone", 1, 1000, 1.5)]
    json.dumps([plain(found), plain(used)])


@ONE
def test_a_dag_without_runs_has_empty_charts_and_what_does_not_exist_is_said(hub: Hub) -> None:
    hub.start(a_version(["a"], dag_id="d"))
    assert (task_durations(hub.broker, hub.engine, "d").tasks, resource_use(hub.broker, hub.engine, "d").tasks) == ((), ())
    with pytest.raises(DagNotFound):
        scatter(hub.broker, hub.engine, "none")
    with pytest.raises(TaskNotFound):
        task_durations(hub.broker, hub.engine, "d", task_ids=["none"])


@ONE
def test_the_number_of_questions_does_not_grow(hub: Hub, counted: Counted) -> None:
    asked = []
    for days in (1, 6):
        for day in range(days):
            hub.start(a_version(["a", "b"], dag_id=f"d{days}"), day=day)
        run_tasks(hub, rss=1)
        hub.record()
        task_durations(hub.broker, hub.engine, f"d{days}")
        counted.statements.clear()
        for chart in (scatter, task_durations, resource_use):
            chart(hub.broker, hub.engine, f"d{days}")  # type: ignore[operator]
        asked.append(len(counted.statements))
    assert asked == [9, 9], counted.statements
