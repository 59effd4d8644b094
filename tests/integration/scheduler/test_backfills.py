"""Backfills by the leader: each date once, over leaders that die anywhere; what has a run already; what is paused, cancelled, marked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from rqflow import clock
from rqflow.actions import backfill, backfill_view, backfilling, query, schedule, trigger
from rqflow.actions.backfill_view import Backfill
from rqflow.broker.broker import Broker
from rqflow.broker.events import EventStream
from rqflow.dag import series
from rqflow.dag.backfill import Rerun
from rqflow.dag.run import RunOptions
from rqflow.dag.version import Version
from rqflow.exceptions import BrokerError, Conflict
from rqflow.recorder.rebuild import rebuild_run
from rqflow.recorder.recorder import Recorder
from rqflow.scheduler.backfills import Backfiller, Deeds
from rqflow.scheduler.ticks import Ticker
from rqflow.settings import Settings
from rqflow.states import BackfillState, RunState, TaskState
from rqflow.store import dags, runs, schedules
from rqflow.store.engine import Engine, reading, run_in_transaction
from rqflow.store.schedules import Followed
from tests.epoch import open_epoch
from tests.integration.broker import playing
from tests.unit.builders import a_version

DAY = timedelta(days=1)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """A DAG with a schedule, leaders that carry its backfills on, and a worker that is played."""

    def __init__(self, db: redis.Redis, engine: Engine, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.db, self.broker, self.engine = db, Broker(db, Settings(home=home)), engine
        self.now = datetime(2026, 1, 20, 0, 30, tzinfo=UTC)
        monkeypatch.setattr(clock, "utcnow", self.tick)
        self.version = self.submit(a_version({"a": [], "b": ["a"]}, schedule="@daily", start_date="2026-01-01T00:00:00+00:00", max_active_runs=2))
        self.leader = self.a_leader()

    def tick(self) -> datetime:
        """The time, which goes on a little with each look, as Redis' does."""
        self.now += timedelta(microseconds=1)
        return self.now

    def a_leader(self, **deeds: Any) -> Backfiller:
        known = {"run_of": backfilling.run_of, "start": partial(trigger.start_scheduled, self.broker, self.engine),
                 "rerun": partial(backfilling.rerun, self.broker, self.engine), "cancel": partial(backfilling.cancel, self.broker, self.engine)}
        return Backfiller(self.engine, Deeds(**{**known, **deeds}))

    def submit(self, version: Version) -> Version:
        def write(connection: Any) -> None:
            dags.save_version(connection, version)
            schedule.follow(connection, version, self.now, catchup_by_default=False)

        run_in_transaction(self.engine, write)
        return version

    def start(self, days: int = 3, *, first: datetime = FIRST, **wish: Any) -> int:
        wanted = backfill.Wish(dag_id="d", first=first, last=first + (days - 1) * DAY, **wish)
        return backfill.start(self.engine, backfill.plan(self.broker, self.engine, wanted), by="ann").id

    def play(self, outcomes: Mapping[str, TaskState] | None = None) -> list[str]:
        """Run what can run, and record it."""
        done = playing.play(self.broker, outcomes)
        self.record()
        return done

    def record(self) -> None:
        recorder = Recorder(EventStream(self.db), self.engine, "r")
        while recorder.step(block_ms=0):
            pass

    def carry_on(self, number: int, outcomes: Mapping[str, TaskState] | None = None) -> Backfill:
        """Lead a backfill to its end."""
        for _ in range(99):
            self.leader.step()
            self.play(outcomes)
            if (shown := self.show(number)).is_finished:
                return shown
        raise AssertionError(f"it never ends: {self.show(number)}")

    def show(self, number: int) -> Backfill:
        return backfill_view.show(self.engine, number)

    def runs(self) -> list[runs.RunRecord]:
        with reading(self.engine) as connection:
            return sorted(runs.search(connection), key=lambda run: str(run.logical_date))

    def tries(self) -> dict[str, int]:
        """How many runs have so many tries of each of their tasks."""
        shown = [query.show(self.broker, self.engine, run.run_key) for run in self.runs()]
        return Counter(" ".join(str(len(task.tries)) for task in run.tasks) for run in shown)

    def states(self) -> dict[str, str]:
        return {f"{run.run_type}__{run.logical_date:%d}": run.state.value for run in self.runs()}


@pytest.fixture
def database() -> str:
    """What is asked of the database is tried on each kind in tests/integration/store."""
    return "sqlite"


@pytest.fixture
def world(db: redis.Redis, engine: Engine, home: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(db, engine, home, monkeypatch)


def test_r41_a_backfill_of_three_days_makes_three_runs_and_leaves_the_schedule_alone(world: World) -> None:
    with reading(world.engine) as connection:
        before = schedules.get(connection, "d")
    ended = world.carry_on(world.start(3))
    assert (ended.state, ended.succeeded, ended.failed, ended.total) == (BackfillState.SUCCESS, 3, 0, 3)
    assert world.states() == {"backfill__01": "success", "backfill__02": "success", "backfill__03": "success"}
    run = world.runs()[0]
    assert (run.run_id, run.data_interval_start, run.data_interval_end) == ("backfill__2026-01-01T00:00:00+00:00", FIRST, FIRST + DAY)
    assert {run.started_by for run in world.runs()} == {"ann"}
    with reading(world.engine) as connection:
        assert schedules.get(connection, "d") == before


def test_no_more_runs_are_active_than_may_be_and_what_waits_says_so(world: World) -> None:
    number = world.start(5, max_active=3)
    world.leader.step()
    world.leader.step()
    shown = world.show(number)
    assert (shown.active, shown.waiting, shown.reason) == (3, 2, "waits: 3 of 3 active")
    assert [run.run_id[10:20] for run in shown.active_runs] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    world.play()
    world.leader.step()
    shown = world.show(number)
    assert (shown.succeeded, shown.active, shown.waiting, shown.reason) == (3, 2, 0, "waits for the end of its last runs")
    assert shown.eta is not None


def test_a_backfill_in_reverse_begins_with_the_last_date(world: World) -> None:
    number = world.start(3, newest_first=True, max_active=1)
    world.leader.step()
    assert list(world.states()) == ["backfill__03"]
    world.play()
    world.leader.step()
    assert list(world.states()) == ["backfill__02", "backfill__03"]
    assert world.carry_on(number).succeeded == 3


def test_a_leader_that_dies_over_any_of_its_deeds_is_followed_by_one_that_runs_each_date_once(world: World) -> None:
    def die_after(deed: Any) -> Any:
        def dying(*args: Any) -> None:
            deed(*args)
            raise BrokerError("killed here")

        return dying

    def die_in_between(run: Any, version: Version) -> None:
        run_in_transaction(world.engine, lambda connection: runs.create(connection, run))
        raise BrokerError("killed between the history and Redis")

    number = world.start(9)
    started = partial(trigger.start_scheduled, world.broker, world.engine)
    for deed in (die_in_between, die_after(started)) * 2:
        with pytest.raises(BrokerError):
            world.a_leader(start=deed).step()
        world.leader.step()
        world.play()
    ended = world.carry_on(number)
    assert (ended.state, ended.succeeded, ended.skipped, ended.total) == (BackfillState.SUCCESS, 9, 0, 9)
    assert [run.logical_date for run in world.runs()] == [FIRST + n * DAY for n in range(9)]
    assert world.tries() == {"1 1": 9}


def test_a_backfill_goes_on_in_a_redis_that_was_emptied(world: World) -> None:
    number = world.start(4)
    world.leader.step()
    world.db.flushall()
    open_epoch(world.db)
    for run in world.runs():
        rebuild_run(world.broker, world.engine, run.run_key)
    assert world.carry_on(number).succeeded == 4
    assert len(world.runs()) == 4


def failed_and_good(world: World) -> None:
    """Three dates of which the second has failed in its last task."""
    number = world.start(3, max_active=1)
    for outcome in (TaskState.SUCCESS, TaskState.FAILED, TaskState.SUCCESS):
        world.leader.step()
        world.play({"b": outcome})
    ended = world.carry_on(number)
    assert (ended.state, ended.succeeded, ended.failed) == (BackfillState.FAILED, 2, 1)
    assert [run.run_id[10:20] for run in ended.failed_runs] == ["2026-01-02"]


def test_dates_that_have_a_run_are_left_as_they_are(world: World) -> None:
    failed_and_good(world)
    ended = world.carry_on(world.start(4))
    assert (ended.state, ended.succeeded, ended.skipped) == (BackfillState.SUCCESS, 1, 3)
    assert world.states()["backfill__02"] == "failed"


def test_rerun_failed_runs_again_what_failed_and_keeps_the_tries_before(world: World) -> None:
    failed_and_good(world)
    number = world.start(3, rerun=Rerun.FAILED)
    world.leader.step()
    assert world.show(number).active == 1
    assert world.play() == ["b"]
    ended = world.carry_on(number)
    assert (ended.state, ended.succeeded, ended.skipped) == (BackfillState.SUCCESS, 1, 2)
    assert set(world.states().values()) == {"success"}
    run = query.show(world.broker, world.engine, world.runs()[1].run_key)
    assert {task.task_id: [one.state.value for one in task.tries] for task in run.tasks} == {"a": ["success"], "b": ["failed", "success"]}


def test_rerun_all_runs_again_all_that_has_ended_also_what_redis_has_forgotten(world: World) -> None:
    failed_and_good(world)
    for run in world.runs():
        world.broker.forget_run(run.run_key)
    ended = world.carry_on(world.start(3, rerun=Rerun.ALL))
    assert (ended.state, ended.succeeded, ended.skipped) == (BackfillState.SUCCESS, 3, 0)
    assert world.tries() == {"2 2": 3}


def test_a_leader_that_dies_over_a_rerun_is_followed_by_one_that_runs_it_again_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    failed_and_good(world)
    number = world.start(3, rerun=Rerun.ALL, max_active=3)
    clear = backfilling.rewrite.clear

    def killed(*_: Any, **__: Any) -> None:
        raise BrokerError("killed before it is cleared")

    def killed_after(*args: Any, **given: Any) -> None:
        clear(*args, **given)
        raise BrokerError("killed when it is cleared")

    for deed in (killed, killed_after) * 3:
        monkeypatch.setattr(backfilling.rewrite, "clear", deed)
        with pytest.raises(BrokerError):
            world.leader.step()
    monkeypatch.setattr(backfilling.rewrite, "clear", clear)
    ended = world.carry_on(number)
    assert (ended.state, ended.succeeded, ended.skipped) == (BackfillState.SUCCESS, 3, 0)
    assert world.tries() == {"2 2": 3}


def test_a_run_that_goes_on_is_left_alone(world: World) -> None:
    run = trigger.by_hand(world.version, trigger.Given(logical_date=FIRST), world.now)
    trigger.start(world.broker, world.engine, run, world.version, by="bob")
    number = world.start(2, rerun=Rerun.ALL)
    world.leader.step()
    assert (world.show(number).skipped, world.show(number).active) == (1, 1)


def test_a_paused_backfill_makes_no_more_runs_until_it_is_resumed(world: World) -> None:
    number = world.start(4)
    world.leader.step()
    record = backfill.find(world.engine, str(number))
    assert backfill.pause(world.engine, record, by="bob")
    assert not backfill.pause(world.engine, record, by="bob")
    assert world.show(number).reason == "paused by bob; 2 runs of it go on"
    world.play()
    world.leader.step()
    assert (world.show(number).succeeded, len(world.runs())) == (2, 2)
    assert backfill.resume(world.engine, record, by="bob")
    assert world.carry_on(number).succeeded == 4


def test_a_cancelled_backfill_cancels_its_runs_and_ends(world: World) -> None:
    number = world.start(5)
    world.leader.step()
    world.play()
    world.leader.step()
    assert backfill.cancel(world.engine, backfill.find(world.engine, "d"), by="bob")
    ended = world.carry_on(number)
    assert (ended.state, ended.succeeded, ended.failed, ended.waiting) == (BackfillState.CANCELLED, 2, 2, 1)
    assert [run.state for run in world.runs()] == [RunState.SUCCESS] * 2 + [RunState.CANCELLED] * 2
    with pytest.raises(Conflict, match="has ended: cancelled"):
        backfill.resume(world.engine, backfill.find(world.engine, "d"), by="bob")


def test_marked_dates_are_a_success_without_a_run_and_no_catchup_starts_them(world: World) -> None:
    world.submit(replace(world.version, catchup=True, max_active_runs=5))
    ended = world.carry_on(world.start(15, marks=True))
    assert (ended.state, ended.succeeded) == (BackfillState.SUCCESS, 15)
    assert (world.broker.all_runs(), EventStream(world.db).backlog()) == ([], 0)
    run = query.show(world.broker, world.engine, world.runs()[0].run_key)
    assert (run.state, run.note) == (RunState.SUCCESS, f"marked success by ann (backfill {ended.id})")
    assert {task.reason for task in run.tasks} == {f"marked success by ann (backfill {ended.id})"}
    followed = Followed(series=str(series.name_of(world.version)), start=FIRST, upto=None, next_run_at=FIRST + DAY)
    run_in_transaction(world.engine, lambda connection: schedules.put(connection, "d", followed))

    def start(version: Version, interval: Any) -> bool:
        return trigger.start_scheduled(world.broker, world.engine, trigger.scheduled(version, interval, world.now), version)

    Ticker(world.broker, world.engine, start, catchup_by_default=False).step()
    assert {name for name in world.states() if name.startswith("scheduled")} == {f"scheduled__{day}" for day in (16, 17, 18, 19)}


def test_runs_of_a_backfill_do_not_take_the_place_of_scheduled_ones(world: World) -> None:
    world.start(4, max_active=4)
    world.leader.step()
    with reading(world.engine) as connection:
        assert schedules.unfinished(connection, ["d"]) == {}


def test_only_the_tasks_that_are_asked_for_run_and_the_others_are_not_in_the_run(world: World) -> None:
    world.submit(a_version({"get": [], "align": ["get"], "report": ["align"]}, schedule="@daily", start_date="2026-01-01T00:00:00+00:00"))
    number = world.start(1, options=RunOptions(task_regex="^al"))
    world.leader.step()
    assert world.play({"align": TaskState.FAILED}) == ["get", "align"]
    ended = world.carry_on(number)
    # How the last task that the run has ends is how the run does.
    assert (ended.state, ended.failed) == (BackfillState.FAILED, 1)
    number = world.start(1, rerun=Rerun.ALL, options=RunOptions(task_regex="al", alone=True))
    world.leader.step()
    assert world.play() == ["align"]
    assert world.carry_on(number).succeeded == 1
    key = world.runs()[0].run_key
    world.broker.forget_run(key)
    states = {task.task_id: task.state.value for task in query.show(world.broker, world.engine, key).tasks}
    assert states == {"get": "success", "align": "success", "report": "removed"}


def test_its_tasks_take_slots_of_the_pool_that_is_asked_for(world: World) -> None:
    world.broker.set_pool("slow", 1)
    run_in_transaction(world.engine, lambda connection: connection.exec_driver_sql("INSERT INTO pool (name, slots, description) VALUES ('slow', 1, '')"))
    number = world.start(3, max_active=3, options=RunOptions(pool="slow"))
    world.leader.step()
    assert [one.task_id for one in playing.claim(world.broker)] == ["a"]
    assert (world.broker.pools()["slow"].used, world.broker.pools()["slow"].parked) == (1, 2)
    assert world.broker.pools()["default_pool"].used == 0
    run = query.show(world.broker, world.engine, backfill_view.show(world.engine, number).active_runs and world.runs()[0].run_key)
    assert {task.pool for task in run.tasks} == {"slow"}


def test_the_first_date_alone_does_not_wait_for_the_date_before(world: World) -> None:
    world.start(3, max_active=3, ignores_first_past=True, newest_first=True)
    world.leader.step()
    assert [run.ignores_past for run in world.runs()] == [True, False, False]


def test_a_backfill_of_a_dag_that_was_deleted_says_why_it_failed(world: World) -> None:
    number = world.start(3)
    run_in_transaction(world.engine, lambda connection: connection.exec_driver_sql("DELETE FROM dag_version"))
    world.leader.step()
    shown = world.show(number)
    assert shown.state is BackfillState.FAILED
    assert "the DAG was deleted" in shown.reason


def test_two_backfills_of_the_same_dates_are_refused_while_one_goes_on(world: World) -> None:
    number = world.start(3)
    with pytest.raises(Conflict, match=f"backfill {number} of d is queued and has dates between these"):
        world.start(1, first=FIRST + 2 * DAY)
    assert world.start(1, first=FIRST + 5 * DAY) != number
