"""Gates by the run before (depends_on_past, wait_for_downstream), by the number of runs (max_active_runs), and by time (dagrun_timeout)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import redis

from rqflow.broker import keys
from rqflow.broker.broker import Broker
from rqflow.broker.watch import Watch
from rqflow.dag import past
from rqflow.dag.past import RunBefore
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version
from rqflow.states import RunState, TaskState
from tests.integration.broker.playing import claim, end, play, states, tell
from tests.unit.builders import A_DATE, a_run, a_task, a_version, an_empty_task

CHAIN = {"a": [], "b": ["a"], "c": ["b"]}


def a_day(version: Version, day: int, **changes: Any) -> RunInfo:
    return a_run(version, run_id=f"day-{day}", logical_date=A_DATE + timedelta(days=day), **changes)


def after(before: RunInfo, theirs: Version, version: Version, known: dict[str, TaskState] | None = None) -> RunBefore:
    """What recorder/past.py says: the history knows of `known` only."""
    waits = past.waits(version, theirs)
    states = {index: (known.get(theirs.tasks[index].task_id, TaskState.PENDING) if known else TaskState.PENDING, theirs.tasks[index].task_id)
              for each in waits.values() for index in each}
    return RunBefore(run_key=before.key, run_id=before.run_id, waits=waits, states=states)


def two_days(broker: Broker, version: Version) -> tuple[RunInfo, RunInfo]:
    first, second = a_day(version, 1), a_day(version, 2)
    assert broker.create_run(first, version)
    assert broker.create_run(second, version, before=after(first, version, version))
    return first, second


def of(broker: Broker, run: RunInfo) -> list[str]:
    return [each.task_id for each in claim(broker) if each.run_key == run.key]


def test_r44_a_task_waits_for_itself_in_the_run_before_and_says_so(broker: Broker) -> None:
    version = a_version(CHAIN, each={"depends_on_past": True})
    first, second = two_days(broker, version)
    assert states(broker, second.key) == {"a": "parked", "b": "pending", "c": "pending"}
    assert broker.task_statuses(second.key)[0].reason == "depends_on_past: a of the run before, day-1, has not ended"
    running = claim(broker)
    assert [(each.run_key, each.task_id) for each in running] == [(first.key, "a")]
    tell(broker, end(running[0]))
    assert states(broker, second.key)["a"] == "queued"
    assert sorted(play(broker)) == ["a", "b", "b", "c", "c"]
    assert {broker.run_status(run.key).state for run in (first, second)} == {RunState.SUCCESS}


@pytest.mark.parametrize(("state", "then"), [(TaskState.SUCCESS, "queued"), (TaskState.SKIPPED, "queued"), (TaskState.FAILED, "parked")])
def test_r44_skipped_counts_as_done_and_failed_holds(broker: Broker, state: TaskState, then: str) -> None:
    version = a_version(["a"], each={"depends_on_past": True})
    _, second = two_days(broker, version)
    tell(broker, end(claim(broker)[0], state))
    assert states(broker, second.key) == {"a": then}
    if state is TaskState.FAILED:
        assert broker.task_statuses(second.key)[0].reason == "depends_on_past: a of the run before, day-1, is failed"


def test_a_failed_task_that_is_marked_or_runs_again_lets_the_next_run_go_on(broker: Broker) -> None:
    version = a_version(["a", "b"], each={"depends_on_past": True})
    first, second = two_days(broker, version)
    tell(broker, *(end(each, TaskState.FAILED) for each in claim(broker)))
    assert states(broker, second.key) == {"a": "parked", "b": "parked"}
    broker.mark(first.key, [version.by_id["a"].index], TaskState.SUCCESS, "ann")
    assert states(broker, second.key) == {"a": "queued", "b": "parked"}
    broker.clear(first.key, [version.by_id["b"].index], "ann")
    assert broker.task_statuses(second.key)[version.by_id["b"].index].reason == "depends_on_past: b of the run before, day-1, has not ended"
    play(broker)
    assert states(broker, second.key) == {"a": "success", "b": "success"}


def test_r43_with_one_active_run_the_older_one_is_cleared_and_goes_on_first(broker: Broker) -> None:
    version = a_version(["a"], each={"depends_on_past": True}, max_active_runs=1)
    first, second = two_days(broker, version)
    assert broker.run_status(second.key).state is RunState.QUEUED
    tell(broker, end(claim(broker)[0], TaskState.FAILED))
    assert broker.run_status(second.key).state is RunState.RUNNING
    assert states(broker, second.key) == {"a": "parked"}
    broker.clear(first.key, [0], "ann")
    assert play(broker) == ["a", "a"]
    assert {broker.run_status(run.key).state for run in (first, second)} == {RunState.SUCCESS}


def test_wait_for_downstream_waits_for_what_follows_there_too(broker: Broker) -> None:
    version = a_version(CHAIN, specs=[a_task("a", wait_for_downstream=True)])
    first, second = two_days(broker, version)
    tell(broker, end(claim(broker)[0]))
    assert broker.task_statuses(second.key)[0].reason == "wait_for_downstream: b of the run before, day-1, has not ended"
    running = claim(broker)
    assert [each.task_id for each in running] == ["b"]
    tell(broker, end(running[0]))
    assert states(broker, second.key)["a"] == "queued", "what lies further below does not matter"
    assert states(broker, first.key)["c"] == "queued"


def test_an_empty_task_waits_too(broker: Broker) -> None:
    version = a_version({"a": [], "b": ["a"]}, specs=[an_empty_task("b", depends_on_past=True)])
    _, second = two_days(broker, version)
    tell(broker, *(end(each, TaskState.FAILED if each.run_key != second.key else TaskState.SUCCESS) for each in claim(broker)))
    assert states(broker, second.key) == {"a": "success", "b": "parked"}


def test_tasks_are_matched_by_their_ids_over_versions_and_new_ones_wait_for_nothing(broker: Broker) -> None:
    old = a_version(CHAIN, each={"depends_on_past": True})
    new = a_version({"new": [], "a": ["new"], "c": ["new"]}, each={"depends_on_past": True})
    first, second = a_day(old, 1), a_day(new, 2)
    broker.create_run(first, old)
    broker.create_run(second, new, before=after(first, old, new))
    assert states(broker, second.key) == {"new": "queued", "a": "pending", "c": "pending"}
    order = [f"{each.run_key == second.key}:{each.task_id}" for each in claim(broker)]
    assert sorted(order) == ["False:a", "True:new"]


def test_a_run_that_redis_does_not_have_any_more_holds_as_the_history_says(broker: Broker) -> None:
    version = a_version(["a", "b"], each={"depends_on_past": True})
    first, second = a_day(version, 1), a_day(version, 2)
    known = {"a": TaskState.FAILED, "b": TaskState.SUCCESS}
    broker.create_run(second, version, before=after(first, version, version, known))
    assert states(broker, second.key) == {"a": "parked", "b": "queued"}
    assert broker.task_statuses(second.key)[version.by_id["a"].index].reason == "depends_on_past: a of the run before, day-1, is failed"
    broker.create_run(first, version)
    play(broker)
    assert states(broker, second.key) == {"a": "success", "b": "success"}, "it came back, and ended well"


def test_the_run_before_stays_in_redis_while_the_next_one_may_need_it(broker: Broker, db: redis.Redis) -> None:
    version = a_version(["a"], each={"depends_on_past": True})
    first, second = two_days(broker, version)
    tell(broker, end(claim(broker)[0], TaskState.FAILED))
    db.zadd(keys.DONE, {first.key: 1})
    assert broker.expired_runs() == []
    broker.mark(second.key, [0], TaskState.SKIPPED, "ann")
    db.zadd(keys.DONE, {first.key: 1, second.key: 1})
    # Nobody records here: without events nothing is held for that.
    for run in (first, second):
        db.hdel(keys.RUN + run.key, "last_event")
    assert set(broker.expired_runs()) == {first.key, second.key}
    for run in (second, first):
        broker.forget_run(run.key)
    assert not db.exists(keys.FOLLOWS, keys.past_key(second.key), f"{keys.PARKED}past:{first.key}:0")


def test_a_cancelled_run_waits_for_nothing(broker: Broker, db: redis.Redis) -> None:
    version = a_version(CHAIN, each={"depends_on_past": True})
    first, second = two_days(broker, version)
    assert broker.cancel_run(second.key, "ann") == "cancelled"
    assert not db.exists(f"{keys.PARKED}past:{first.key}:0")
    assert play(broker) == ["a", "b", "c"]


def test_a_hundred_days_run_one_after_the_other(broker: Broker) -> None:
    version = a_version({"a": [], "b": ["a"]}, each={"depends_on_past": True}, max_active_runs=100)
    days = [a_day(version, day) for day in range(100)]
    for before, run in zip([None, *days], days, strict=False):
        broker.create_run(run, version, before=after(before, version, version) if before else None)
    order = []
    while claims := claim(broker):
        order += [broker.run_info(each.run_key).run_id for each in claims if each.task_id == "b"]
        tell(broker, *(end(each) for each in claims))
    assert order == [run.run_id for run in days]


def test_as_many_runs_as_may_run_and_the_others_wait_in_their_order(broker: Broker) -> None:
    version = a_version(["a"], max_active_runs=2)
    runs = [a_day(version, day) for day in range(5)]
    for run in runs:
        broker.create_run(run, version)
    other = a_version(["x"], dag_id="other", max_active_runs=1)
    broker.create_run(a_run(other), other)
    assert [broker.run_status(run.key).state.value for run in runs] == ["running", "running", "queued", "queued", "queued"]
    first, *rest = [each for each in claim(broker) if each.run_key in {run.key for run in runs}]
    assert (first.run_key, len(rest)) == (runs[0].key, 1)
    tell(broker, end(first))
    assert [broker.run_status(run.key).state.value for run in runs] == ["success", "running", "running", "queued", "queued"]
    tell(broker, *(end(each) for each in rest))
    assert len(play(broker)) == 3


def test_a_waiting_run_is_cancelled_at_once_and_marks_on_it_hold_until_it_starts(broker: Broker) -> None:
    version = a_version({"a": [], "b": ["a"]}, max_active_runs=1)
    first, second, third = [a_day(version, day) for day in range(3)]
    for run in (first, second, third):
        broker.create_run(run, version)
    assert broker.cancel_run(second.key, "ann") == "cancelled"
    broker.mark(third.key, [0], TaskState.SUCCESS, "ann")
    assert states(broker, third.key) == {"a": "success", "b": "pending"}
    assert play(broker) == ["a", "b", "b"]


def test_a_run_that_is_cleared_does_not_wait_for_room(broker: Broker) -> None:
    version = a_version(["a"], max_active_runs=1)
    first, second = a_day(version, 1), a_day(version, 2)
    broker.create_run(first, version)
    tell(broker, end(claim(broker)[0], TaskState.FAILED))
    broker.create_run(second, version)
    broker.clear(first.key, [0], "ann")
    assert {broker.run_status(run.key).state for run in (first, second)} == {RunState.RUNNING}
    third = a_day(version, 3)
    broker.create_run(third, version)
    tell(broker, end(claim(broker, wanted=1)[0]))
    assert broker.run_status(third.key).state is RunState.QUEUED, "one of the other two still runs"
    assert len(play(broker)) == 2


def test_a_run_that_takes_longer_than_its_dagrun_timeout_is_stopped_and_fails(broker: Broker) -> None:
    version = a_version({"a": [], "b": ["a"]}, dagrun_timeout=0.001, max_active_runs=1)
    run, waiting = a_day(version, 1), a_day(version, 2)
    broker.create_run(run, version)
    broker.create_run(waiting, version)
    running = claim(broker)[0]
    seen = Watch(broker).look(pause=60)
    assert seen.late == (run.key,)
    assert Watch(broker).expire(run.key) == "running"
    assert states(broker, run.key) == {"a": "running", "b": "cancelled"}
    assert broker.beat({running.execution_id: (run.key, running.index, 1)}).cancel == (running.execution_id,)
    tell(broker, end(running, TaskState.FAILED))
    assert states(broker, run.key) == {"a": "cancelled", "b": "cancelled"}
    assert broker.run_status(run.key).state is RunState.FAILED
    assert broker.task_statuses(run.key, [1])[0].reason == "dagrun_timeout: the run took too long"
    assert broker.run_status(waiting.key).state is RunState.RUNNING
    broker.clear(run.key, [0, 1], "ann")
    assert Watch(broker).look(pause=60).late != (), "its time counts anew"


def test_a_run_in_time_is_left_alone(broker: Broker, db: redis.Redis) -> None:
    version = a_version(["a"], dagrun_timeout=3600.0)
    run = a_day(version, 1)
    broker.create_run(run, version)
    assert Watch(broker).look(pause=60).late == ()
    assert Watch(broker).expire(run.key) == "running"
    assert states(broker, run.key) == {"a": "queued"}
    play(broker)
    assert not db.exists(keys.DEADLINES, f"{keys.ACTIVE}{run.dag_id}")
