"""The page of a run: right while it goes on, before it is recorded, and after Redis has forgotten it; in a few questions."""

from __future__ import annotations

import json

import pytest

from rqflow.actions import query, rewrite
from rqflow.actions.model import plain
from rqflow.actions.sights.run_view import RunPage, run_page
from rqflow.actions.sights.timeline import QUEUED, RETRY, RUNNING, Timeline, timeline
from rqflow.broker import control
from rqflow.clock import utcnow
from rqflow.exceptions import RunNotFound
from rqflow.states import RunState, TaskState
from rqflow.store.runs import RunRecord
from tests.integration.actions.hub import Hub
from tests.integration.actions.sights.conftest import Counted
from tests.integration.broker import playing
from tests.unit.builders import a_task, a_version

ONE = pytest.mark.parametrize("database", ["sqlite"])


def of(hub: Hub, run: RunRecord) -> RunPage:
    return run_page(hub.broker, hub.engine, run.run_key)


def told(page: RunPage) -> dict[str, tuple[str, int]]:
    return {task.task_id: (task.state.value, task.try_number) for task in page.tasks}


def whys(page: RunPage) -> dict[str, str]:
    return {task.task_id: task.why for task in page.tasks}


def test_states_are_the_same_live_unrecorded_and_from_the_history(hub: Hub) -> None:
    version = a_version({"a": [], "b": ["a"], "c": ["b"], "late": []}, dag_id="line",
                        specs=[a_task("late", start_date="2024-01-02T00:00:00+00:00")])
    run = hub.start(version)
    page = of(hub, run)
    assert told(page) == {"a": ("queued", 1), "b": ("pending", 1), "c": ("pending", 1), "late": ("removed", 1)}
    assert (page.is_live, page.counts, page.run.state) == (True, {"pending": 2, "queued": 1, "removed": 1}, RunState.RUNNING)
    playing.play(hub.broker, {"b": TaskState.FAILED})
    unrecorded = of(hub, run)
    assert (unrecorded.is_live, unrecorded.run.state) == (True, RunState.FAILED)
    hub.record()
    recorded = of(hub, run)
    assert not recorded.is_live
    hub.forget(run)
    forgotten = of(hub, run)
    for one in (unrecorded, recorded, forgotten):
        assert {name: state for name, (state, _) in told(one).items()} == {"a": "success", "b": "failed", "c": "upstream_failed", "late": "removed"}
        assert (one.version_number, one.is_newest_version, one.run.state) == (1, True, RunState.FAILED)
        assert [task.duration is not None for task in one.tasks if task.task_id in "ab"] == [True, True]
    assert whys(unrecorded) == whys(recorded) == whys(forgotten)


@ONE
def test_why_says_what_each_task_waits_for(hub: Hub) -> None:
    tasks = {"a": [], "b": [], "c": [], "d": [], "join": ["a", "b", "c", "d"], "end": ["a"]}
    version = a_version(tasks, dag_id="waiting", specs=[a_task("b", retries=1, retry_delay=600.0)], max_active_runs=1)
    run, other = hub.start(version), hub.start(version, day=1)
    assert whys(of(hub, run))["a"] == "waits for a free slot on the queue default"
    assert whys(of(hub, run))["join"] == "waits for a, b and 2 more"
    assert whys(of(hub, other))["a"] == "its run waits for another one of the DAG to end"
    control.pause_queue(hub.broker, "default", "ann")
    assert whys(of(hub, run))["a"] == "the queue default is paused by ann"
    control.resume_queue(hub.broker, "default")
    claims = {claim.task_id: claim for claim in playing.claim(hub.broker)}
    playing.tell(hub.broker, playing.end(claims["b"], TaskState.UP_FOR_RETRY, retry_in=600.0, reason="exit code 3"))
    hub.broker.cancel_task(run.run_key, "a", "ann")
    page = of(hub, run)
    assert whys(page)["b"].startswith("try 2 of 2 is due at ")
    assert {task.task_id: task.mark for task in page.tasks if task.mark} == {"a": "cancel requested"}


@ONE
def test_groups_tell_their_worst_state_and_how_many_are_in_which(hub: Hub) -> None:
    specs = [a_task(f"g.{name}", group_id="g") for name in "xyz"]
    run = hub.start(a_version({"g.x": [], "g.y": ["g.x"], "z": [], "g.z": []}, specs=specs, dag_id="grouped", groups={"g": {}}))
    playing.play(hub.broker, {"g.x": TaskState.FAILED})
    group, = of(hub, run).groups
    assert (group.group_id, group.start, group.stop, group.state, dict(group.counts)) == (
        "g", 0, 3, TaskState.FAILED, {"success": 1, "failed": 1, "upstream_failed": 1})


@ONE
def test_the_history_tells_a_run_when_redis_is_away(hub: Hub) -> None:
    run = hub.start(a_version({"a": [], "b": ["a"]}, dag_id="line"))
    hub.record()
    page = run_page(None, hub.engine, run.run_key)
    assert (told(page)["a"][0], told(page)["b"][0], page.is_live) == ("queued", "pending", False)


@ONE
def test_an_unknown_run_is_said(hub: Hub) -> None:
    with pytest.raises(RunNotFound):
        run_page(hub.broker, hub.engine, "0" * 16)


@ONE
def test_the_number_of_questions_does_not_grow_with_tasks(hub: Hub, counted: Counted) -> None:
    asked = []
    for number in (2, 60):
        run = hub.start(a_version([f"t{place}" for place in range(number)], dag_id=f"d{number}"))
        for ends in (False, True):
            if ends:
                playing.play(hub.broker)
                hub.forget(run)
            of(hub, run)
            counted.statements.clear()
            counted.round_trips = 0
            assert len(of(hub, run).tasks) == number
            asked.append((len(counted.statements), counted.round_trips))
    assert asked[:2] == asked[2:] == [(4, 4), (5, 1)], counted.statements


@ONE
def test_it_is_json(hub: Hub) -> None:
    run = hub.start(a_version(["a"], dag_id="d"))
    found = json.loads(json.dumps(plain(of(hub, run))))
    assert (found["run"]["run_key"], found["tasks"][0]["state"], found["counts"]) == (run.run_key, "queued", {"queued": 1})


def times(hub: Hub, run: RunRecord) -> Timeline:
    shown = query.show(hub.broker, hub.engine, run.run_key)
    return timeline(shown, query.version_of(hub.broker, hub.engine, shown), utcnow())


@ONE
def test_the_timeline_has_waits_tries_and_lanes_before_and_after_they_are_recorded(hub: Hub) -> None:
    run = hub.start(a_version({"a": [], "b": ["a"], "c": []}, dag_id="line"))
    claims = {claim.task_id: claim for claim in playing.claim(hub.broker)}
    playing.tell(hub.broker, playing.end(claims["a"]))
    rewrite.clear(hub.broker, hub.engine, run, [0], by="ann")
    found = times(hub, run)
    kinds = {row.task_id: [(segment.kind, segment.try_number, segment.is_open) for segment in row.segments] for row in found.rows}
    assert kinds["a"][-2:] == [(RUNNING, 1, False), (QUEUED, 2, True)]
    assert kinds["c"][-1] == (RUNNING, 1, True)
    assert found.now is not None
    assert [(lane.worker, lane.tracks) for lane in found.lanes] == [("w1", 2)]
    playing.tell(hub.broker, playing.end(claims["c"]))
    playing.play(hub.broker)
    unrecorded = times(hub, run)
    segments = {row.task_id: [segment.kind for segment in row.segments if segment.kind != QUEUED] for row in unrecorded.rows}
    assert segments["a"] == [RUNNING, RETRY, RUNNING]
    hub.record()
    assert times(hub, run) == unrecorded
    json.dumps(plain(unrecorded))
