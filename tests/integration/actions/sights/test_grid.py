"""The grid of a DAG: right for runs that go on, that have ended, and of which nothing is recorded yet; in a few questions."""

from __future__ import annotations

import json

import pytest

from rqflow.actions import query, rewrite
from rqflow.actions.model import plain
from rqflow.actions.sights import sequence
from rqflow.actions.sights.grid import Grid, grid
from rqflow.broker import keys
from rqflow.broker.events import EventStream
from rqflow.dag.version import Version
from rqflow.exceptions import DagNotFound, RunNotFound, UsageError
from rqflow.states import RunState, TaskState
from rqflow.store.runs import RunRecord
from tests.integration.actions.hub import Hub
from tests.integration.actions.sights.conftest import Counted
from tests.integration.broker import playing
from tests.unit.builders import a_task, a_version

ONE = pytest.mark.parametrize("database", ["sqlite"])
LINE = {"a": [], "b": ["a"], "c": ["b"]}


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has shown no grid yet."""
    monkeypatch.setattr("rqflow.actions.sights.grid.SEQUENCES", sequence.Sequences())


def of(hub: Hub, version: Version, **wanted: object) -> Grid:
    return grid(hub.broker, hub.engine, version.dag_id, **wanted)  # type: ignore[arg-type]


def columns(found: Grid) -> list[str]:
    return [run.states for run in found.runs]


def as_shown(hub: Hub, run: RunRecord, found: Grid) -> dict[str, str]:
    """The states of a run as its own page tells them, which is another way to ask."""
    own = {task.task_id: task.state.value for task in query.show(hub.broker, hub.engine, run.run_key).tasks}
    return {task.task_id: own.get(task.task_id, "") for task in found.tasks}


def as_in_grid(run: RunRecord, found: Grid) -> dict[str, str]:
    states = next(one.states for one in found.runs if one.run_key == run.run_key)
    return {task.task_id: found.codes.get(code, "") for task, code in zip(found.tasks, states, strict=True)}


def test_states_are_those_of_the_run_page_while_it_goes_on_before_it_is_recorded_and_after_redis_has_forgotten_it(hub: Hub) -> None:
    version = a_version(LINE, dag_id="line")
    runs = [hub.start(version)]
    playing.play(hub.broker)
    hub.record()
    runs.append(hub.start(version, day=1))
    claim, = playing.claim(hub.broker)
    runs.append(hub.start(version, day=2))
    found = of(hub, version)
    assert columns(found) == ["qpp", "rpp", "sss"]
    assert [as_in_grid(run, found) for run in runs] == [as_shown(hub, run, found) for run in runs]
    playing.tell(hub.broker, playing.end(claim))
    playing.play(hub.broker, {"b": TaskState.FAILED})
    found = of(hub, version)
    assert columns(found) == ["sfu", "sfu", "sss"], "of two runs nothing is recorded yet"
    assert [as_in_grid(run, found) for run in runs] == [as_shown(hub, run, found) for run in runs]
    hub.forget(*runs)
    assert hub.broker.all_runs() == []
    found = of(hub, version)
    assert columns(found) == columns(of(hub, version)) == ["sfu", "sfu", "sss"], "the second time from memory"
    assert [as_in_grid(run, found) for run in runs] == [as_shown(hub, run, found) for run in runs]
    assert [run.state for run in found.runs] == [RunState.FAILED, RunState.FAILED, RunState.SUCCESS]


@ONE
def test_a_run_of_which_only_a_part_is_recorded_is_told_by_redis_and_not_kept(hub: Hub) -> None:
    version = a_version(LINE, dag_id="line")
    run = hub.start(version)
    playing.play(hub.broker)
    stream, last = EventStream(hub.db), hub.db.xlen(keys.EVENTS)
    # Another recorder has taken all but the end of the run, and has died.
    taken = stream.read("dead", count=last - 1, block_ms=0)
    assert len(taken) == last - 1
    hub.record()
    assert hub.of(run).state is RunState.SUCCESS
    assert columns(of(hub, version)) == ["sss"]
    hub.recorder.step(block_ms=0)
    for _ in range(2):
        assert columns(of(hub, version)) == ["sss"]
    stream.acknowledge([entry_id for entry_id, _ in taken])
    assert columns(of(hub, version)) != ["sss"], "what was acknowledged and never written is lost, and was not remembered either"


@ONE
def test_a_task_that_ran_again_shows_its_tries_and_a_running_one_its_marks(hub: Hub) -> None:
    version = a_version(["a", "b"], dag_id="two")
    run = hub.start(version)
    playing.play(hub.broker)
    rewrite.clear(hub.broker, hub.engine, run, [1], by="ann")
    claim, = playing.claim(hub.broker)
    hub.broker.cancel_task(run.run_key, "b", "ann")
    column, = of(hub, version).runs
    assert (column.states, column.tries, column.marks, column.state) == ("sr", {1: 2}, {1: "cancel requested"}, RunState.RUNNING)
    playing.tell(hub.broker, playing.end(claim, TaskState.CANCELLED))
    hub.forget(run)
    column, = of(hub, version).runs
    assert (column.states, column.tries, column.marks) == ("sc", {1: 2}, {})


@ONE
def test_a_run_that_was_cleared_after_it_was_kept_in_memory_is_read_anew(hub: Hub) -> None:
    version = a_version(["a", "b"], dag_id="two")
    run = hub.start(version)
    playing.play(hub.broker)
    hub.record()
    assert columns(of(hub, version)) == ["ss"]
    rewrite.clear(hub.broker, hub.engine, run, [0], by="ann")
    assert columns(of(hub, version)) == ["qs"]
    playing.play(hub.broker, {"a": TaskState.FAILED})
    hub.forget(run)
    assert columns(of(hub, version)) == ["fs"]


@ONE
def test_tasks_of_a_group_stand_together_and_the_group_is_as_bad_as_its_worst_task(hub: Hub) -> None:
    specs = [a_task("g.x", group_id="g"), a_task("g.h.y", group_id="g.h"), a_task("z")]
    version = a_version({"g.x": [], "z": [], "g.h.y": ["z"]}, specs=specs, dag_id="grouped",
                        groups={"g": {"tooltip": "all of it", "parent": None}, "g.h": {"parent": "g"}})
    run = hub.start(version)
    playing.play(hub.broker, {"z": TaskState.FAILED})
    found = of(hub, version)
    assert [task.task_id for task in found.tasks] == ["g.x", "g.h.y", "z"]
    assert [(task.label, task.depth) for task in found.tasks] == [("x", 1), ("y", 2), ("z", 0)]
    assert [(group.label, group.parent, group.start, group.stop, group.tooltip) for group in found.groups] == [
        ("g", "", 0, 2, "all of it"), ("h", "g", 1, 2, "")]
    assert (found.runs[0].states, found.runs[0].group_states) == ("suf", "uu")
    assert as_in_grid(run, found) == as_shown(hub, run, found)


@ONE
def test_tasks_that_only_older_runs_have_stand_last_and_those_that_they_lack_are_blank(hub: Hub) -> None:
    old, new = a_version({"a": [], "b": ["a"], "gone": ["b"]}, dag_id="moving"), a_version({"new": [], "a": ["new"], "b": ["a"]}, dag_id="moving")
    first = hub.start(old)
    playing.play(hub.broker)
    hub.start(new, day=1)
    playing.play(hub.broker)
    hub.forget(first)
    found = of(hub, new)
    assert [(task.task_id, task.is_gone) for task in found.tasks] == [("new", False), ("a", False), ("b", False), ("gone", True)]
    assert (found.known, columns(found)) == (3, ["sss ", " sss"])


@ONE
def test_tasks_of_which_a_run_has_no_instance_are_removed(hub: Hub) -> None:
    late = "2024-01-02T00:00:00+00:00"
    version = a_version({"a": [], "b": []}, specs=[a_task("b", start_date=late)], dag_id="dated")
    run = hub.start(version)
    before = of(hub, version)
    assert as_in_grid(run, before) == {"a": "queued", "b": "removed"}
    playing.play(hub.broker)
    hub.forget(run)
    assert as_in_grid(run, of(hub, version)) == {"a": "success", "b": "removed"}


def test_pages_follow_one_another_both_ways_without_a_gap(hub: Hub) -> None:
    version = a_version(["a"], dag_id="paged")
    runs = [hub.start(version, day=day).run_key for day in range(5)][::-1]
    first = of(hub, version, limit=2)
    second = of(hub, version, limit=2, before=first.older)
    third = of(hub, version, limit=2, before=second.older)
    shown = [[run.run_key for run in each.runs] for each in (first, second, third)]
    assert shown == [runs[:2], runs[2:4], runs[4:]]
    assert (first.newer, third.older) == (None, None)
    back = of(hub, version, limit=2, after=third.newer)
    assert ([run.run_key for run in back.runs], back.newer, back.older) == (runs[2:4], runs[2], runs[3])
    assert of(hub, version, limit=2, after=back.newer).newer is None


def test_runs_are_found_by_their_states_though_the_history_does_not_know_them_yet(hub: Hub) -> None:
    version = a_version(["a"], dag_id="stating", max_active_runs=1)
    first, second = hub.start(version), hub.start(version, day=1)
    hub.record()
    playing.tell(hub.broker, *(playing.end(claim, TaskState.FAILED) for claim in playing.claim(hub.broker)))
    by_state = {state: [run.run_key for run in of(hub, version, states=[state]).runs] for state in RunState}
    assert by_state == {RunState.FAILED: [first.run_key], RunState.RUNNING: [second.run_key], RunState.QUEUED: [], RunState.SUCCESS: [],
                        RunState.CANCELLED: []}
    assert len(of(hub, version, run_types=["manual"]).runs) == 2
    assert of(hub, version, run_types=["scheduled"]).runs == ()


@ONE
def test_without_redis_the_history_tells_what_it_has(hub: Hub) -> None:
    version = a_version(LINE, dag_id="line")
    hub.start(version)
    hub.record()
    playing.play(hub.broker)
    assert columns(grid(None, hub.engine, "line")) == ["qpp"]


@ONE
def test_what_does_not_exist_is_said(hub: Hub) -> None:
    version = a_version(["a"], dag_id="small")
    hub.start(version)
    with pytest.raises(DagNotFound):
        grid(hub.broker, hub.engine, "none")
    with pytest.raises(RunNotFound):
        of(hub, version, before="none")
    with pytest.raises(UsageError):
        of(hub, version, before="none", after="none")


@ONE
def test_the_number_of_questions_does_not_grow_with_runs_and_tasks(hub: Hub, counted: Counted) -> None:
    asked = []
    for dag_id, tasks, days in (("small", 2, 1), ("large", 40, 8)):
        version = a_version([f"t{number}" for number in range(tasks)], dag_id=dag_id, max_active_runs=99)
        done = [hub.start(version, day=day) for day in range(days)]
        playing.play(hub.broker)
        hub.forget(*done)
        hub.start(version, day=90)
        of(hub, version)
        counted.statements.clear()
        counted.round_trips = 0
        found = of(hub, version)
        assert len(found.runs) == days + 1
        asked.append((len(counted.statements), counted.round_trips))
    assert asked[0] == asked[1] == (2, 2), counted.statements


@ONE
def test_it_is_json(hub: Hub) -> None:
    version = a_version(LINE, dag_id="line")
    run = hub.start(version)
    rewrite.clear(hub.broker, hub.engine, run, [0], by="ann")
    told = json.loads(json.dumps(plain(of(hub, version))))
    assert (told["dag_id"], told["runs"][0]["states"], told["codes"]["q"]) == ("line", "qpp", "queued")
