"""Runs by schedule: each date once, over leaders that die anywhere, with the fake clock of the test."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis

from rqflow import clock
from rqflow.actions import schedule, trigger
from rqflow.broker import keys
from rqflow.broker.broker import Broker
from rqflow.broker.rows import job_id
from rqflow.dag.series import MOST_COUNTED, Interval
from rqflow.dag.version import Version
from rqflow.exceptions import BrokerError
from rqflow.scheduler.ticks import Ticker
from rqflow.settings import Settings
from rqflow.store import dags, runs, schedules
from rqflow.store.engine import Engine, reading, run_in_transaction
from tests.unit.builders import a_version

DAY = timedelta(days=1)


class World:
    """One DAG with a schedule, a clock that is moved by hand, and a leader that follows it."""

    def __init__(self, db: redis.Redis, engine: Engine, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.broker, self.engine = Broker(db, Settings(home=home)), engine
        self.now = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
        monkeypatch.setattr(clock, "utcnow", lambda: self.now)
        self.leader = self.a_leader()

    def a_leader(self, start: Callable[[Version, Interval], bool] | None = None) -> Ticker:
        return Ticker(self.broker, self.engine, start or self.start, catchup_by_default=False)

    def start(self, version: Version, interval: Interval) -> bool:
        return trigger.start_scheduled(self.broker, self.engine, trigger.scheduled(version, interval, self.now), version)

    def submit(self, version: Version, wanted: str | None = None) -> schedule.News:
        def write(connection: object) -> schedule.News:
            dags.save_version(connection, version)  # type: ignore[arg-type]
            return schedule.follow(connection, version, self.now, catchup_by_default=False, wanted=wanted)  # type: ignore[arg-type]

        return run_in_transaction(self.engine, write)

    def pass_time(self, time: timedelta) -> int:
        self.now += time
        return self.leader.step()

    def dates(self) -> list[str]:
        with reading(self.engine) as connection:
            found = runs.search(connection)
        assert all(self.broker.run_exists(run.run_key) for run in found)
        return sorted(run.run_id.removeprefix("scheduled__")[:16] for run in found)

    def end_all(self) -> None:
        for key in self.broker.live_runs():
            self.broker.cancel_run(key, "test")
        run_in_transaction(self.engine, lambda connection: connection.exec_driver_sql("UPDATE dag_run SET state = 'success'"))


@pytest.fixture
def world(db: redis.Redis, engine: Engine, home: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(db, engine, home, monkeypatch)


def hourly(**more: object) -> Version:
    return a_version(**{"schedule": "@hourly", "start_date": "2026-01-01T00:00:00+00:00", **more})


def test_each_date_is_run_when_its_interval_is_over(world: World) -> None:
    assert world.submit(hourly()).next == Interval(logical_date=datetime(2026, 1, 1, tzinfo=UTC), start=datetime(2026, 1, 1, tzinfo=UTC),
                                                   end=datetime(2026, 1, 1, 1, tzinfo=UTC))
    assert world.pass_time(timedelta(minutes=29)) == 0
    assert world.pass_time(timedelta(minutes=1)) == 1
    assert world.pass_time(timedelta(0)) == 0
    assert world.pass_time(timedelta(hours=1)) == 1
    assert world.dates() == ["2026-01-01T00:00", "2026-01-01T01:00"]


def test_the_alarm_of_the_next_run_stands_in_rq_schedulers_set(world: World, db: redis.Redis) -> None:
    world.submit(hourly())
    world.leader.step()
    assert db.zrange(keys.RQ_SCHEDULED_JOBS, 0, -1, withscores=True) == [(job_id("d", "", "").encode(), datetime(2026, 1, 1, 1, tzinfo=UTC).timestamp())]
    due = world.broker.move_due()
    assert (due.moved, due.ticks) == (1, ("d",))
    assert db.zcard(keys.RQ_SCHEDULED_JOBS) == db.hlen(keys.DUE) == 0


def test_a_leader_that_dies_over_a_run_is_followed_by_one_that_starts_each_date_once(world: World) -> None:
    world.submit(hourly(max_active_runs=100, catchup=True))
    world.now += timedelta(hours=5)

    def die_after(version: Version, interval: Interval) -> bool:
        world.start(version, interval)
        raise BrokerError("killed here")

    for _ in range(3):
        with pytest.raises(BrokerError):
            world.a_leader(die_after).step()
    assert len(world.dates()) == 1
    world.leader.step()
    assert world.dates() == [f"2026-01-01T0{hour}:00" for hour in range(5)]


def test_no_more_runs_than_may_be_active_are_started(world: World) -> None:
    world.submit(hourly(max_active_runs=2, catchup=True))
    assert world.pass_time(timedelta(hours=5)) == 2
    assert world.pass_time(timedelta(0)) == 0
    world.end_all()
    assert world.pass_time(timedelta(0)) == 2
    assert world.dates() == [f"2026-01-01T0{hour}:00" for hour in range(4)]


def test_r40_without_catchup_an_outage_leaves_one_run(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.submit(hourly())
    assert world.pass_time(3 * DAY) == 1
    assert world.dates() == ["2026-01-03T23:00"]
    assert "71 dates before 2026-01-03T23:00:00+00:00 were missed" in caplog.text


@pytest.mark.parametrize("database", ["sqlite"])
def test_r33_r35_two_leaders_by_mistake_run_each_minute_of_two_hours_once_and_do_not_drift(world: World) -> None:
    start, minute, chance = world.now, timedelta(minutes=1), random.Random(35)
    world.submit(hourly(schedule="timedelta:60", start_date=start.isoformat(), max_active_runs=1000))
    leaders = [world.leader, world.a_leader()]
    for number in range(1, 121):
        # However late a leader is awake each time, the next date is reckoned from the start.
        world.now = start + number * minute + timedelta(seconds=chance.uniform(0, 1.9))
        chance.shuffle(leaders)
        assert sum(leader.step() for leader in leaders) == 1
    with reading(world.engine) as connection:
        found = sorted(runs.search(connection), key=lambda run: run.logical_date)
    assert [(run.logical_date, run.data_interval_end) for run in found] == [(start + n * minute, start + (n + 1) * minute) for n in range(120)]
    assert all(timedelta(0) <= run.created_at - run.data_interval_end < timedelta(seconds=2) for run in found)


@pytest.mark.parametrize("database", ["sqlite"])
def test_r39_a_new_dag_starts_no_past_runs_neither_at_submit_nor_when_it_is_unpaused(world: World) -> None:
    version = hourly(start_date="2018-01-01T00:00:00+00:00")
    assert world.submit(version).left_out == MOST_COUNTED + 1
    run_in_transaction(world.engine, lambda connection: schedule.pause(connection, "d", by="me"))
    run_in_transaction(world.engine, lambda connection: schedule.unpause(connection, version, by="me", catchup_by_default=False))
    assert world.pass_time(timedelta(0)) == 0
    assert world.pass_time(timedelta(minutes=30)) == 1
    assert world.dates() == ["2026-01-01T00:00"]


@pytest.mark.parametrize("database", ["sqlite"])
@pytest.mark.parametrize(("back", "started"), [(30, 0), (59, 0), (60, 1), (119, 1), (120, 0)])
def test_r39_exactly_one_interval_that_is_complete_is_run(back: int, started: int, world: World) -> None:
    start = world.now - timedelta(minutes=back)
    news = world.submit(hourly(schedule="timedelta:3600", start_date=start.isoformat()))
    assert (news.started, news.left_out) == (started, back // 60 if back // 60 > 1 else 0)
    assert world.pass_time(timedelta(0)) == started


def test_time_paused_counts_as_left_out(world: World) -> None:
    version = hourly()
    world.submit(version)
    run_in_transaction(world.engine, lambda connection: schedule.pause(connection, "d", by="me"))
    assert world.pass_time(DAY) == 0
    run_in_transaction(world.engine, lambda connection: schedule.unpause(connection, version, by="me", catchup_by_default=False))
    assert world.pass_time(timedelta(0)) == 0
    assert world.pass_time(timedelta(minutes=30)) == 1
    assert world.dates() == ["2026-01-02T00:00"]


def test_a_changed_schedule_starts_from_now(world: World) -> None:
    world.submit(hourly())
    world.pass_time(timedelta(hours=3))
    news = world.submit(a_version(schedule="*/10 * * * *", start_date="2020-01-01T00:00:00+00:00"))
    assert (news.is_changed, news.started) == (True, 0)
    assert world.pass_time(timedelta(0)) == 0
    assert world.pass_time(timedelta(minutes=10)) == 1
    assert world.dates()[-1] == "2026-01-01T03:30"


def test_an_end_date_that_is_moved_after_it_was_over_starts_no_past_runs_unasked(world: World) -> None:
    world.submit(hourly(end_date="2026-01-01T01:00:00+00:00"))
    assert world.pass_time(timedelta(hours=2)) == 1
    world.pass_time(timedelta(days=1))
    world.submit(hourly(end_date="2026-02-01T00:00:00+00:00"))
    assert world.pass_time(timedelta(0)) == 0
    assert world.pass_time(timedelta(hours=1)) == 1
    assert world.dates() == ["2026-01-01T01:00", "2026-01-02T02:00"]


def test_an_end_date_that_is_moved_after_it_was_over_makes_up_for_many_dates_only_when_asked(world: World) -> None:
    world.submit(hourly(catchup=True, end_date="2026-01-01T01:00:00+00:00"))
    assert world.pass_time(timedelta(hours=2)) == 2
    world.pass_time(timedelta(days=1))
    later = hourly(catchup=True, max_active_runs=100, end_date="2026-02-01T00:00:00+00:00")
    with pytest.raises(schedule.ManyRuns, match="would start 24 past runs"):
        world.submit(later)
    world.submit(later, "2")
    assert world.pass_time(timedelta(0)) == 2
    assert world.dates() == ["2026-01-01T00:00", "2026-01-01T01:00", "2026-01-02T00:00", "2026-01-02T01:00"]


def test_the_same_schedule_in_a_new_version_goes_on(world: World) -> None:
    world.submit(hourly())
    world.pass_time(timedelta(hours=1))
    assert world.submit(hourly(description="new")).is_changed is False
    assert world.pass_time(timedelta(hours=1)) == 1
    assert world.dates() == ["2026-01-01T00:00", "2026-01-01T01:00"]


@pytest.mark.parametrize(("wanted", "started"), [("all", 24), ("none", 0), ("3", 3), ("99", 24)])
def test_a_person_says_how_many_past_dates_are_made_up_for(wanted: str, started: int, world: World) -> None:
    version = hourly(catchup=True, max_active_runs=100)
    world.now = datetime(2026, 1, 2, 0, 30, tzinfo=UTC)
    with pytest.raises(schedule.ManyRuns, match="would start 24 past runs"):
        world.submit(version)
    assert world.submit(version, wanted).started == started
    assert world.pass_time(timedelta(0)) == started
    assert world.pass_time(timedelta(minutes=30)) == 1


def test_how_many_past_dates_are_wanted_means_nothing_without_catchup(world: World) -> None:
    world.now = datetime(2026, 1, 2, 0, 30, tzinfo=UTC)
    news = world.submit(hourly(), "3")
    assert (news.started, news.left_out) == (0, 24)
    assert world.pass_time(timedelta(0)) == 0


def test_a_schedule_without_a_start_begins_with_its_first_submit(world: World) -> None:
    world.submit(hourly(start_date=None))
    assert world.pass_time(timedelta(hours=1)) == 0
    assert world.pass_time(timedelta(minutes=30)) == 1
    assert world.dates() == ["2026-01-01T01:00"]
    with reading(world.engine) as connection:
        followed = schedules.get(connection, "d")
    assert followed is not None
    assert followed.start == datetime(2026, 1, 1, 0, 30, tzinfo=UTC)


def test_a_continuous_dag_has_one_run_at_a_time_which_covers_the_time_since_the_one_before(world: World) -> None:
    version = a_version(["a"], schedule="@continuous", start_date="2025-06-01T00:00:00+00:00")
    assert world.submit(version).left_out == 0
    assert [world.pass_time(timedelta(minutes=1)) for _ in range(3)] == [1, 0, 0]
    world.end_all()
    assert [world.pass_time(timedelta(minutes=1)) for _ in range(2)] == [1, 0]
    with reading(world.engine) as connection:
        second, before = runs.search(connection)
    assert (before.data_interval_start, before.data_interval_end) == (datetime(2026, 1, 1, 0, 30, tzinfo=UTC), datetime(2026, 1, 1, 0, 31, tzinfo=UTC))
    assert (second.data_interval_start, second.data_interval_end) == (before.data_interval_end, datetime(2026, 1, 1, 0, 34, tzinfo=UTC))


def test_a_continuous_dag_waits_for_its_start_and_stops_at_its_end(world: World) -> None:
    version = a_version(["a"], schedule="@continuous", start_date="2026-01-02T00:00:00+00:00", end_date="2026-01-02T12:00:00+00:00")
    world.submit(version)
    assert world.pass_time(timedelta(hours=1)) == 0
    assert world.pass_time(DAY) == 1
    world.end_all()
    assert world.pass_time(DAY) == 1
    world.end_all()
    assert world.pass_time(DAY) == 0
