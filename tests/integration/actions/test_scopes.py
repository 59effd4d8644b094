"""Clearing and marking by scope: upstream, downstream, earlier and later runs, dates and states, also in runs that Redis has forgotten."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rqflow.actions import reruns, scope
from rqflow.actions.scope import Chosen, Scope
from rqflow.dag.version import TaskSpec
from rqflow.exceptions import DagNotFound, TaskNotFound, UsageError
from rqflow.states import RunState, TaskState
from rqflow.store import tasks
from rqflow.store.engine import reading
from rqflow.store.runs import RunRecord
from tests.integration.actions.hub import Hub
from tests.integration.broker import playing
from tests.unit.builders import A_DATE, a_version, an_empty_task

pytestmark = pytest.mark.parametrize("database", ["sqlite"])

LINE = a_version({"a": [], "b": ["a"], "c": ["b"], "side": []}, dag_id="line")
DAYS = [f"manual__{(A_DATE + timedelta(days=day)).isoformat()}" for day in range(4)]


@pytest.fixture
def days(hub: Hub) -> list[RunRecord]:
    """Runs of four days of LINE, that have ended, of which the second has failed at b; Redis has forgotten the first two."""
    made = []
    for day in range(4):
        made.append(hub.start(LINE, day=day))
        playing.play(hub.broker, {"b": TaskState.FAILED} if day == 1 else {})
    hub.record()
    hub.forget(*made[:2])
    return [hub.of(run) for run in made]


def named(chosen: list[Chosen]) -> dict[str, list[str]]:
    return {one.run.run_id: [task.task_id for task in one.tasks] for one in chosen}


def meant(hub: Hub, run: RunRecord, **wanted: object) -> dict[str, list[str]]:
    return named(scope.of_run(hub.broker, hub.engine, run, Scope(**wanted)))


def test_scopes_of_one_run(hub: Hub, days: list[RunRecord]) -> None:
    second = days[1]
    assert meant(hub, second, selector="b") == {DAYS[1]: ["b"]}
    assert meant(hub, second, selector="b", upstream=True) == {DAYS[1]: ["a", "b"]}
    assert meant(hub, second, selector="b", downstream=True) == {DAYS[1]: ["b", "c"]}
    assert meant(hub, second, regex="^(b|s.*e)$") == {DAYS[1]: ["b", "side"]} or meant(hub, second, regex="^(b|s.*e)$") == {DAYS[1]: ["side", "b"]}
    assert meant(hub, second, only_failed=True) == {DAYS[1]: ["b", "c"]}, "what failed, and what did not run because of that"
    assert meant(hub, second, only_running=True) == {}
    with pytest.raises(TaskNotFound, match="line has no task nope"):
        meant(hub, second, selector="nope")
    with pytest.raises(TaskNotFound, match="no task that matches"):
        meant(hub, second, regex="^z")


def test_earlier_and_later_runs_are_meant_in_the_order_of_their_dates(hub: Hub, days: list[RunRecord]) -> None:
    assert list(meant(hub, days[2], selector="b", past=True)) == DAYS[:3]
    assert list(meant(hub, days[2], selector="b", future=True)) == DAYS[2:]
    assert list(meant(hub, days[2], selector="b", past=True, future=True)) == DAYS
    assert meant(hub, days[2], past=True, only_failed=True) == {DAYS[1]: ["b", "c"]}
    day = timedelta(days=1)
    assert list(meant(hub, days[2], selector="b", since=A_DATE + day)) == DAYS[1:]
    assert list(meant(hub, days[3], selector="b", since=A_DATE + day, until=A_DATE + day)) == [DAYS[1], DAYS[3]]
    assert list(meant(hub, days[2], selector="b", past=True, since=A_DATE + day)) == DAYS[1:3]
    with pytest.raises(UsageError, match="The end lies before the start"):
        meant(hub, days[2], since=A_DATE + day, until=A_DATE)


def test_runs_of_a_dag_are_meant_by_date_and_state(hub: Hub, days: list[RunRecord]) -> None:
    def of_dag(**wanted: object) -> dict[str, list[str]]:
        return named(scope.of_dag(hub.broker, hub.engine, "line", Scope(selector="b"), **wanted))

    day = timedelta(days=1)
    assert list(of_dag()) == DAYS
    assert list(of_dag(since=A_DATE + day, until=A_DATE + 2 * day)) == DAYS[1:3]
    assert list(of_dag(states=[RunState.FAILED])) == [DAYS[1]]
    assert of_dag(since=A_DATE + 10 * day) == {}
    with pytest.raises(UsageError, match="lies before the start"):
        of_dag(since=A_DATE + day, until=A_DATE)
    with pytest.raises(DagNotFound):
        scope.of_dag(hub.broker, hub.engine, "nope", Scope())
    with pytest.raises(TaskNotFound, match="line has no task x"):
        scope.of_dag(hub.broker, hub.engine, "line", Scope(selector="x"))


def test_r63_what_failed_is_cleared_in_runs_that_redis_has_forgotten_and_nothing_else(hub: Hub, days: list[RunRecord]) -> None:
    changed = reruns.clear(hub.broker, hub.engine, scope.of_run(hub.broker, hub.engine, days[3], Scope(past=True, only_failed=True)), by="ann")
    assert [(one.run.run_id, one.why) for one in changed] == [(DAYS[1], "")]
    assert hub.states(days[1]) == {"a": "success", "b": "queued", "c": "pending", "side": "success"}
    assert playing.play(hub.broker) == ["b", "c"]
    hub.record()
    assert hub.of(days[1]).state is RunState.SUCCESS
    with reading(hub.engine) as connection:
        made = [(one.task_id, one.try_number, one.state.value) for one in tasks.tries(connection, days[1].run_key)]
    assert sorted(made) == [("a", 1, "success"), ("b", 1, "failed"), ("b", 2, "success"), ("c", 1, "success"), ("side", 1, "success")], "old tries stay"


def test_r30_a_join_is_right_after_the_rerun_of_one_branch_when_redis_has_forgotten_the_others(hub: Hub) -> None:
    version = a_version({"a": [], "good": ["a"], "bad": ["a"], "join": ["good", "bad"], "after": ["join"]}, dag_id="join")
    run = hub.start(version)
    assert sorted(playing.play(hub.broker, {"bad": TaskState.FAILED})) == ["a", "bad", "good"]
    hub.forget(run)
    assert not hub.broker.run_exists(run.run_key)
    for outcome, then in ((TaskState.FAILED, ["bad"]), (TaskState.SUCCESS, ["bad", "join", "after"])):
        reruns.clear(hub.broker, hub.engine, scope.of_run(hub.broker, hub.engine, hub.of(run), Scope(only_failed=True)), by="ann")
        assert hub.states(run)["join"] == "pending"
        assert playing.play(hub.broker, {"bad": outcome}) == then
        hub.forget(run)
    assert hub.of(run).state is RunState.SUCCESS
    with reading(hub.engine) as connection:
        assert sorted((one.task_id, one.try_number) for one in tasks.tries(connection, run.run_key)) == [
            ("a", 1), ("after", 1), ("bad", 1), ("bad", 2), ("bad", 3), ("good", 1), ("join", 1)]


def test_r63_a_success_by_hand_frees_the_children_at_once_in_all_runs(hub: Hub, days: list[RunRecord]) -> None:
    chosen = scope.of_run(hub.broker, hub.engine, days[0], Scope(selector="b", future=True, only_failed=True))
    reruns.mark(hub.broker, hub.engine, chosen, TaskState.SUCCESS, by="ann")
    assert hub.states(days[1]) == {"a": "success", "b": "success", "c": "queued", "side": "success"}
    reruns.mark(hub.broker, hub.engine, scope.of_run(hub.broker, hub.engine, days[0], Scope(selector="c", past=True, future=True)),
                TaskState.SKIPPED, by="ann")
    hub.record()
    assert [hub.states(run)["c"] for run in days] == ["skipped"] * 4


def test_a_running_task_is_refused_or_stopped_and_run_again(hub: Hub) -> None:
    run = hub.start(LINE)
    held = {one.task_id: one for one in playing.claim(hub.broker)}
    assert set(held) == {"a", "side"}
    playing.tell(hub.broker, playing.end(held["side"]))
    everything = scope.of_run(hub.broker, hub.engine, run, Scope())
    changed, = reruns.clear(hub.broker, hub.engine, everything, by="ann")
    assert [task.task_id for task in changed.refused.tasks] == ["a"]
    assert changed.why.startswith("a cannot be cleared now: they run")
    running = scope.of_run(hub.broker, hub.engine, run, Scope(only_running=True))
    assert named(running) == {run.run_id: ["a"]}
    changed, = reruns.clear(hub.broker, hub.engine, running, by="ann", stops=True)
    assert not changed.refused.tasks
    one = held["a"]
    assert hub.broker.beat({one.execution_id: (run.run_key, one.index, 1)}).cancel == (one.execution_id,), "its worker stops it"
    playing.tell(hub.broker, playing.end(one, TaskState.CANCELLED))
    assert hub.states(run)["a"] == "queued"
    again = next(claim for claim in playing.claim(hub.broker) if claim.task_id == "a")
    assert (again.try_number, again.max_tries) == (2, 2)
    playing.tell(hub.broker, playing.end(again))
    playing.play(hub.broker)
    hub.record()
    with reading(hub.engine) as connection:
        tries = [(one.try_number, one.state.value, one.reason) for one in tasks.tries(connection, run.run_key, "a")]
    assert tries == [(1, "up_for_retry", "cleared by ann"), (2, "success", "")]


def test_a_stopped_task_that_never_began_is_queued_again(hub: Hub) -> None:
    run = hub.start(LINE)
    playing.claim(hub.broker)
    reruns.clear(hub.broker, hub.engine, scope.of_run(hub.broker, hub.engine, run, Scope(selector="a")), by="ann", stops=True)
    hub.broker.beat({})
    assert hub.states(run)["a"] == "queued"
    assert next(one for one in playing.claim(hub.broker) if one.task_id == "a").try_number == 1


@pytest.mark.parametrize(("begun", "state", "after"), [
    (False, TaskState.SUCCESS, {"a": "success", "b": "success", "c": "success", "side": "success"}),
    (False, TaskState.FAILED, {"a": "failed", "b": "failed", "c": "failed", "side": "failed"}),
    (True, TaskState.FAILED, {"a": "success", "b": "success", "c": "failed", "side": "failed"}),
])
def test_all_of_a_run_is_marked(hub: Hub, begun: bool, state: TaskState, after: dict[str, str]) -> None:
    run = hub.start(LINE)
    if begun:
        playing.play(hub.broker)
        hub.record()
    chosen = reruns.of_whole_run(hub.broker, hub.engine, run, state)
    reruns.mark(hub.broker, hub.engine, [chosen], state, by="ann")
    hub.record()
    assert hub.states(run) == after
    assert hub.of(run).state.value == state.value
    assert reruns.of_whole_run(hub.broker, hub.engine, run, state).tasks == (), "once more there is nothing to do"


def a_marker(dag_id: str, task_id: str, **more: object) -> TaskSpec:
    fields = {"external_dag_id": dag_id, "external_task_id": task_id, "logical_date": None, "recursion_depth": 10, **more}
    return an_empty_task("mark", operator_name="ExternalTaskMarker", fields=fields, template_fields=("external_dag_id", "external_task_id", "logical_date"))


def test_downstream_goes_on_in_other_dags_where_a_marker_says_so(hub: Hub) -> None:
    chain = {"a": [], "mark": ["a"]}
    first = a_version(chain, dag_id="first", specs=[a_marker("second", "x", logical_date="{{ logical_date }}")])
    second = a_version({"x": [], "mark": ["x"], "other": []}, dag_id="second", specs=[a_marker("third", "y")])
    third = a_version({"y": [], "z": ["y"], "mark": ["z"]}, dag_id="third", specs=[a_marker("first", "a")])
    made = [hub.start(version, day=2) for version in (first, second, third)]
    hub.start(second, day=3)
    playing.play(hub.broker)
    hub.record()
    chosen = scope.of_run(hub.broker, hub.engine, hub.of(made[0]), Scope(selector="a", downstream=True))
    assert {one.run.dag_id: [task.task_id for task in one.tasks] for one in chosen} == {
        "first": ["a", "mark"], "second": ["x", "mark"], "third": ["y", "z", "mark"]}, "in a circle each once, and the other date not"
    alone = scope.of_run(hub.broker, hub.engine, hub.of(made[0]), Scope(selector="a"))
    assert [one.run.dag_id for one in alone] == ["first"]
    reruns.clear(hub.broker, hub.engine, chosen, by="ann")
    assert hub.states(made[2])["y"] == "queued"


def test_a_marker_is_followed_as_far_as_its_depth_says_and_one_of_no_run_marks_nothing(hub: Hub) -> None:
    first = a_version({"mark": []}, dag_id="first", specs=[a_marker("second", "mark", recursion_depth=1)])
    second = a_version({"mark": []}, dag_id="second", specs=[a_marker("third", "y")])
    third = a_version({"y": []}, dag_id="third")
    made = [hub.start(version) for version in (first, second, third)]
    playing.play(hub.broker)
    hub.record()
    chosen = scope.of_run(hub.broker, hub.engine, hub.of(made[0]), Scope(selector="mark", downstream=True))
    assert [one.run.dag_id for one in chosen] == ["first", "second"]
    lone = hub.start(a_version({"mark": []}, dag_id="lone", specs=[a_marker("gone", "y")]))
    hub.record()
    assert [one.run.dag_id for one in scope.of_run(hub.broker, hub.engine, lone, Scope(selector="mark", downstream=True))] == ["lone"]
