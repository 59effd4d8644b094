"""Runs that Redis has lost or forgotten are put back from the history and go on where they were."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from rqflow import clock
from rqflow.actions import rewrite, submit, trigger
from rqflow.actions.cancel import cancel_run
from rqflow.broker import keys
from rqflow.broker.broker import Broker
from rqflow.broker.events import EventStream
from rqflow.broker.messages import ANNOUNCE
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version
from rqflow.exceptions import Conflict
from rqflow.recorder.rebuild import rebuild_run
from rqflow.recorder.recorder import Recorder
from rqflow.scheduler.epoch import EpochKeeper
from rqflow.settings import Settings
from rqflow.states import RunState, TaskState
from rqflow.store import runs, tasks, xcoms
from rqflow.store.engine import Engine, reading
from rqflow.store.runs import RunRecord
from tests.integration.broker.playing import claim, end, states, tell
from tests.unit.builders import a_task, a_version

#: A branch that skips a part, an empty task, retries, a join that waits for all.
EDGES = {"first": [], "branch": ["first"], "left": ["branch"], "right": ["branch"], "below": ["right"], "side": ["first"], "join": ["left", "below", "side"]}


class Hub:
    """Broker, history, and a recorder that brings the one into the other."""

    def __init__(self, db: redis.Redis, engine: Engine, home: Path) -> None:
        self.db, self.engine = db, engine
        self.broker = Broker(db, Settings(home=home), caller="w1")
        self.recorder = Recorder(EventStream(db), engine, "r")

    def start(self, version: Version) -> RunInfo:
        submit.register(self.broker, self.engine, [version])
        run = trigger.by_hand(version, trigger.Given(), clock.utcnow())
        trigger.start(self.broker, self.engine, run, version, by="ann")
        return run

    def record(self) -> None:
        while self.recorder.step(block_ms=0):
            pass

    def lose_everything(self) -> None:
        self.record()
        self.db.flushall()
        EpochKeeper(self.broker, self.engine).believe()

    def row(self, run: RunInfo) -> RunRecord:
        with reading(self.engine) as connection:
            found = runs.by_key(connection, run.key)
        assert found
        return found

    def finish(self, run: RunInfo, task_id: str, state: TaskState = TaskState.SUCCESS, **more: object) -> None:
        """Claim what is there and end one of it; the rest goes back."""
        claims = {one.task_id: one for one in claim(self.broker)}
        tell(self.broker, end(claims[task_id], state, **more))
        self.broker.beat({})


@pytest.fixture
def hub(db: redis.Redis, engine: Engine, home: Path) -> Hub:
    return Hub(db, engine, home)


def test_a_run_that_redis_lost_goes_on_where_it_was(hub: Hub) -> None:
    run = hub.start(a_version(EDGES, specs=[a_task("join", trigger_rule="none_failed"), a_task("side", retries=1, retry_delay=1000.0)]))
    version = hub.broker.version(run.version)
    assert version
    hub.finish(run, "first", xcoms={"return_value": '"seen"'})
    hub.finish(run, "side", TaskState.UP_FOR_RETRY, retry_in=1000.0)
    hub.finish(run, "branch", skip=(version.by_id["right"].index,), facts={"skips": [version.by_id["right"].index]})
    before = states(hub.broker, run.key)
    assert before == {"first": "success", "branch": "success", "left": "queued", "right": "skipped", "below": "skipped", "side": "up_for_retry",
                      "join": "pending"}
    hub.lose_everything()
    assert states(hub.broker, run.key) == before
    assert hub.broker.recount(run.key) == []
    assert hub.broker.xcoms(run.key) == {"first": {"return_value": '"seen"'}}
    side = next(status for status in hub.broker.task_statuses(run.key) if status.task_id == "side")
    assert side.due_at
    assert 900 < (side.due_at - clock.utcnow()).total_seconds() < 1100
    hub.finish(run, "left")
    hub.db.zadd("rq:scheduler:scheduled_jobs", {side.job_id: 1.0})
    hub.broker.move_due()
    (again,) = claim(hub.broker)
    assert (again.task_id, again.try_number) == ("side", 2)
    tell(hub.broker, end(again))
    hub.finish(run, "join")
    assert hub.broker.run_status(run.key).state is RunState.SUCCESS  # type: ignore[union-attr]


def test_a_sensor_that_waits_for_its_next_look_waits_on_after_redis_lost_it(hub: Hub) -> None:
    run = hub.start(a_version(["a"]))
    facts = {"retry_in": 1000.0, "looks": 3}
    hub.finish(run, "a", TaskState.UP_FOR_RESCHEDULE, retry_in=1000.0, duration=500.0, facts=facts)
    hub.lose_everything()
    (status,) = hub.broker.task_statuses(run.key)
    assert (status.state, status.try_number) == (TaskState.UP_FOR_RESCHEDULE, 1)
    assert status.due_at
    assert 900 < (status.due_at - clock.utcnow()).total_seconds() < 1100
    hub.broker.run_now(run.key, 0)
    hub.lose_everything()
    (again,) = claim(hub.broker)
    assert (again.try_number, again.looks) == (1, 3)
    assert 500 <= again.waited < 600


def test_a_retry_that_waits_follows_the_delay_that_was_submitted_last_and_so_after_redis_lost_it(hub: Hub) -> None:
    def slow(delay: float) -> Version:
        return a_version(["a", "b"], each={"retries": 2, "retry_delay": delay})

    def waits() -> list[int]:
        now = clock.utcnow()
        return [round((one.due_at - now).total_seconds() / 100) for one in hub.broker.task_statuses(run.key) if one.due_at]

    run = hub.start(slow(6000.0))
    for one in claim(hub.broker, wanted=2):
        tell(hub.broker, end(one, TaskState.UP_FOR_RETRY, retry_in=6000.0, facts={"retry_in": 6000.0}))
    assert waits() == [60, 60]
    registered, = submit.register(hub.broker, hub.engine, [slow(1000.0)])
    assert [one.task_id for one in registered.moved] == ["a", "b"]
    words = registered.moved[0].words(clock.UTC)
    assert words.startswith(f"run {run.run_id}: the retry of a is due ")
    assert waits() == [10, 10]
    hub.lose_everything()
    assert waits() == [10, 10]
    assert submit.register(hub.broker, hub.engine, [slow(1000.0)])[0].moved == ()
    submit.register(hub.broker, hub.engine, [slow(6000.0)])
    assert waits() == [60, 60]
    hub.lose_everything()
    assert waits() == [60, 60]
    submit.register(hub.broker, hub.engine, [slow(0.0)])
    assert hub.broker.move_due().moved == 2, "never before now, but now"
    assert {(one.task_id, one.try_number) for one in claim(hub.broker, wanted=2)} == {("a", 2), ("b", 2)}


def test_of_other_tries_no_retry_is_moved(hub: Hub) -> None:
    run = hub.start(a_version(["a", "b"], each={"retries": 2}))
    first, _ = claim(hub.broker, wanted=2)
    tell(hub.broker, end(first, TaskState.UP_FOR_RETRY, retry_in=60.0))
    later = clock.utcnow() + timedelta(hours=5)
    assert hub.broker.align(run.key, {0: (2, later), 1: (1, later)}) == {}
    assert list(hub.broker.align(run.key, {0: (1, later), 1: (1, later)})) == [0]
    assert hub.broker.align("d/none", {0: (1, later)}) == {}


def test_a_run_that_never_came_to_redis_is_started(hub: Hub) -> None:
    run = hub.start(a_version({"a": [], "b": ["a"]}))
    hub.db.flushall()
    EpochKeeper(hub.broker, hub.engine).believe()
    assert states(hub.broker, run.key) == {"a": "queued", "b": "pending"}


def test_a_cancel_outlives_the_loss_of_redis(hub: Hub) -> None:
    run = hub.start(a_version({"a": [], "b": ["a"]}))
    (running,) = claim(hub.broker)
    cancel_run(hub.broker, hub.engine, hub.row(run), by="ann")
    hub.lose_everything()
    assert hub.broker.run_status(run.key).cancel_requested  # type: ignore[union-attr]
    named = {running.execution_id: (running.run_key, running.index, running.try_number)}
    assert hub.broker.beat(named).cancel == (running.execution_id,)
    tell(hub.broker, end(running, TaskState.FAILED))
    assert states(hub.broker, run.key) == {"a": "cancelled", "b": "cancelled"}


def test_a_run_whose_end_was_recorded_before_that_of_its_task_is_brought_back(hub: Hub) -> None:
    """Recorders write side by side: one had the end of the task in its hands when Redis lost it, and another had recorded the run's."""
    run = hub.start(a_version({"a": []}))
    (running,) = claim(hub.broker)
    hub.record()
    tell(hub.broker, end(running))
    told = [event for _, fields in hub.db.xrange(keys.EVENTS) for event in json.loads(fields[b"e"])]
    hub.db.xtrim(keys.EVENTS, maxlen=0)
    hub.db.xadd(keys.EVENTS, {"e": json.dumps([event for event in told if event["kind"] == "run"])})
    hub.lose_everything()
    assert states(hub.broker, run.key) == {"a": "running"}
    # The worker has it in its spool, and tells it again.
    assert tell(hub.broker, end(running))
    hub.record()
    assert hub.row(run).state is RunState.SUCCESS
    with reading(hub.engine) as connection:
        assert [one.state for one in tasks.tries(connection, run.key)] == [TaskState.SUCCESS]


def test_an_end_that_is_recorded_after_redis_was_put_right_stays_with_its_worker_until_it_is_told_again(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorder had it in its hands, asleep, when Redis lost everything, and the leader read the history before it was written there."""
    hub.lose_everything()
    keeper, record = EpochKeeper(hub.broker, hub.engine), hub.recorder._record
    run = hub.start(a_version({"a": [], "b": ["a"]}))
    hub.broker.machine = "m"
    assert hub.broker.announce_held(["default"], {}).is_heard
    keeper.serve()
    (first,) = claim(hub.broker)
    hub.record()
    tell(hub.broker, end(first))

    def record_late(events: Sequence[Mapping[str, Any]]) -> None:
        monkeypatch.undo()
        hub.db.flushall()
        keeper.believe()
        record(events)

    monkeypatch.setattr(hub.recorder, "_record", record_late)
    hub.record()
    assert states(hub.broker, run.key) == {"a": "running", "b": "pending"}
    named = {first.execution_id: (first.run_key, first.index, first.try_number)}
    beat = hub.broker.beat({})
    assert (beat.closed, beat.recorded) == (ANNOUNCE, ())
    assert hub.broker.announce_held(["default"], named).is_heard
    keeper.serve()
    assert hub.broker.beat(named).recorded == ()
    tell(hub.broker, end(first))
    assert hub.broker.beat({}).recorded == (first.execution_id,)
    assert [one.task_id for one in claim(hub.broker)] == ["b"]


@pytest.mark.parametrize("ran", [True, False], ids=["a task that ran", "a task that was skipped"])
def test_a_run_whose_end_was_recorded_before_anything_of_a_task_is_brought_back(hub: Hub, ran: bool) -> None:
    """The same, when the other recorder had all in its hands that ever happened to the task."""
    run = hub.start(a_version({"a": [], "b": ["a"]}))
    (first,) = claim(hub.broker)
    ends = [end(first, TaskState.SUCCESS if ran else TaskState.FAILED)]
    tell(hub.broker, *ends)
    if ran:
        ends.append(end(claim(hub.broker)[0]))
        tell(hub.broker, ends[1])
    told = [event for _, fields in hub.db.xrange(keys.EVENTS) for event in json.loads(fields[b"e"])]
    hub.db.xtrim(keys.EVENTS, maxlen=0)
    hub.db.xadd(keys.EVENTS, {"e": json.dumps([event for event in told if event.get("task") != "b"])})
    hub.record()
    was = hub.row(run)
    with reading(hub.engine) as connection:
        assert [row.task_id for row in tasks.of_run(connection, run.key)] == ["a"]
    hub.lose_everything()
    if ran:
        # Its worker says that it holds an end of it, which it tells then.
        said = hub.broker.announce_held(["default"], {ends[1].execution_id: (run.key, ends[1].index, 1)})
        assert (said.given_up, said.unknown) == ((), ())
        assert tell(hub.broker, ends[1]) == ("ok",)
    hub.record()
    assert hub.row(run).state is was.state is (RunState.SUCCESS if ran else RunState.FAILED)
    with reading(hub.engine) as connection:
        rows = {row.task_id: row.state.value for row in tasks.of_run(connection, run.key)}
    assert rows == ({"a": "success", "b": "success"} if ran else {"a": "failed", "b": "upstream_failed"})


def test_an_end_that_is_told_once_more_comes_into_the_history_that_lacks_it(hub: Hub) -> None:
    """Redis has it, and its events were lost on the way to the history: with a recorder that was killed, say, and then Redis was restarted."""
    run = hub.start(a_version({"a": [], "b": ["a"]}))
    (running,) = claim(hub.broker)
    hub.record()
    told = end(running, xcoms={"return_value": '"x"'}, facts={"exit_code": 0}, duration=2.0)
    tell(hub.broker, told)
    hub.db.xtrim(keys.EVENTS, maxlen=0)
    assert tell(hub.broker, told) == ("stale",)
    hub.record()
    with reading(hub.engine) as connection:
        (row,) = tasks.tries(connection, run.key)
        assert xcoms.of_run(connection, run.key) == {"a": {"return_value": '"x"'}}
    assert (row.state, row.exit_code, row.late) == (TaskState.SUCCESS, 0, None)
    assert (row.ended_at - row.started_at).total_seconds() == 2.0


def test_a_run_that_redis_knows_to_have_ended_keeps_the_time_of_its_end(hub: Hub) -> None:
    run = hub.start(a_version({"a": []}))
    hub.record()
    tell(hub.broker, end(claim(hub.broker)[0]))
    ended_at = hub.broker.run_status(run.key).ended_at
    hub.db.xtrim(keys.EVENTS, maxlen=0)
    rebuild_run(hub.broker, hub.engine, run.key)
    hub.record()
    assert (hub.row(run).state, hub.row(run).ended_at) == (RunState.SUCCESS, ended_at)


def test_what_redis_knows_better_stands(hub: Hub) -> None:
    run = hub.start(a_version({"a": [], "b": ["a"]}))
    hub.finish(run, "a")
    assert rebuild_run(hub.broker, hub.engine, run.key) == 0
    assert states(hub.broker, run.key) == {"a": "success", "b": "queued"}


def test_a_forgotten_run_is_cleared_hours_later_and_its_join_is_right(hub: Hub) -> None:
    """Reliability 30."""
    run = hub.start(a_version({"a": [], "b": [], "join": ["a", "b"]}))
    claims = {one.task_id: one for one in claim(hub.broker)}
    tell(hub.broker, end(claims["a"], xcoms={"return_value": "1"}), end(claims["b"], TaskState.FAILED))
    assert states(hub.broker, run.key) == {"a": "success", "b": "failed", "join": "upstream_failed"}
    hub.record()
    hub.broker.forget_run(run.key)
    version = hub.broker.version(run.version)
    assert not hub.broker.run_exists(run.key)
    assert version
    assert rewrite.clear(hub.broker, hub.engine, hub.row(run), [version.by_id["b"].index], by="ann") == []
    assert states(hub.broker, run.key) == {"a": "success", "b": "queued", "join": "pending"}
    (again,) = claim(hub.broker)
    assert (again.task_id, again.try_number) == ("b", 2)
    tell(hub.broker, end(again))
    hub.finish(run, "join")
    hub.record()
    assert hub.row(run).state is RunState.SUCCESS
    assert hub.broker.xcoms(run.key)["a"] == {"return_value": "1"}


def test_a_forgotten_run_is_marked(hub: Hub) -> None:
    run = hub.start(a_version({"a": [], "b": ["a"]}))
    hub.finish(run, "a", TaskState.FAILED)
    hub.record()
    hub.broker.forget_run(run.key)
    rewrite.mark(hub.broker, hub.engine, hub.row(run), [0], TaskState.SUCCESS, by="ann")
    assert states(hub.broker, run.key) == {"a": "success", "b": "queued"}


def test_a_run_of_which_too_little_is_known_is_not_brought_back(hub: Hub) -> None:
    run = hub.start(a_version())
    row = hub.row(run)
    hub.db.flushall()
    with pytest.raises(Conflict, match="cannot be continued"):
        rewrite.clear(hub.broker, hub.engine, RunRecord(**{**{name: getattr(row, name) for name in RunRecord.__slots__}, "run_key": "0" * 16}), [0], by="ann")
