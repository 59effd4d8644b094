"""The scheduler with a real Redis: delayed retries, leadership, loss of Redis."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from rqflow.broker.broker import Broker
from rqflow.broker.connection import open_connection
from rqflow.broker.events import EventStream
from rqflow.broker.messages import End
from rqflow.scheduler.hub import Chore, Hub, tidy
from rqflow.scheduler.scheduler import Scheduler
from rqflow.settings import RedisSettings, Settings
from rqflow.states import TaskState
from tests.epoch import open_epoch
from tests.profile import NOISE, PATIENCE
from tests.proxy import Proxy
from tests.services import redis_server
from tests.unit.builders import a_run, a_task, a_version, an_empty_task
from tests.waiting import until

TTL = timedelta(seconds=0.6)


def a_scheduler(url: str, home: Path, *, timeout: float = 10.0) -> Scheduler:
    settings = Settings(home=home, redis=RedisSettings(socket_timeout=timedelta(seconds=timeout)))
    connection = open_connection(url, settings)
    return Scheduler(connection, Broker(connection, settings), lock_ttl=TTL)


@contextmanager
def turning(*schedulers: Scheduler) -> Iterator[None]:
    """Schedulers that turn in threads of their own during the block."""
    over = threading.Event()

    def work(scheduler: Scheduler) -> None:
        while not over.is_set():
            scheduler.live_turn()

    threads = [threading.Thread(target=work, args=(scheduler,)) for scheduler in schedulers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
        for scheduler in schedulers:
            scheduler.connection.close()


@pytest.fixture
def broker(db: redis.Redis, home: Path) -> Broker:
    return Broker(db, Settings(home=home), caller="w1")


def a_retry_in(broker: Broker, seconds: float) -> str:
    """A run whose only task has failed once and waits `seconds` for its next try; its key."""
    version = a_version(specs=[a_task("a", retries=1)])
    run = a_run(version)
    broker.create_run(run, version)
    claim, = broker.turn(queues=["default"], wanted=1).claims
    end = End(run_key=run.key, index=0, try_number=1, execution_id=claim.execution_id, state=TaskState.UP_FOR_RETRY, retry_in=seconds)
    broker.turn(queues=["default"], wanted=0, ends=[end])
    return run.key


def state(broker: Broker, run_key: str) -> TaskState:
    return broker.task_statuses(run_key)[0].state


def test_a_retry_is_queued_when_its_delay_is_over_and_not_before(broker: Broker, redis_url: str, home: Path) -> None:
    run_key = a_retry_in(broker, 0.5)
    with turning(a_scheduler(redis_url, home)):
        until(lambda: state(broker, run_key) is TaskState.QUEUED, what="the retry to be queued")
    task, = broker.task_statuses(run_key)
    claim_again, = broker.turn(queues=["default"], wanted=1).claims
    assert task.queued_at is not None
    assert claim_again.try_number == 2


def test_a_retry_that_begins_to_wait_later_wakes_a_sleeping_scheduler(broker: Broker, redis_url: str, home: Path) -> None:
    with turning(a_scheduler(redis_url, home)):
        time.sleep(0.3)
        run_key = a_retry_in(broker, 0.2)
        until(lambda: state(broker, run_key) is TaskState.QUEUED, what="the retry to be queued")


def test_a_retry_is_queued_within_milliseconds_of_its_time(broker: Broker, redis_url: str, home: Path) -> None:
    late = []
    with turning(a_scheduler(redis_url, home)):
        for _ in range(3):
            broker.connection.flushall()
            open_epoch(broker.connection)
            run_key = a_retry_in(broker, 0.4)
            due = broker.task_statuses(run_key)[0].due_at
            until(lambda: state(broker, run_key) is TaskState.QUEUED, what="the retry to be queued")  # noqa: B023
            queued = broker.task_statuses(run_key)[0].queued_at
            assert due
            assert queued
            late.append((queued - due).total_seconds())
    assert min(late) >= 0
    assert min(late) < 0.05


def test_two_schedulers_have_one_leader(broker: Broker, redis_url: str, home: Path) -> None:
    one, two = a_scheduler(redis_url, home), a_scheduler(redis_url, home)
    with turning(one, two):
        until(lambda: one.is_leader or two.is_leader, what="a leader")
        for _ in range(20):
            assert one.is_leader + two.is_leader <= 1
            time.sleep(0.02)


def test_a_standby_leads_when_the_leader_is_gone(broker: Broker, redis_url: str, home: Path) -> None:
    """Reliability 34, the hand-over; ticks come with schedules."""
    one, two = a_scheduler(redis_url, home), a_scheduler(redis_url, home)
    one.turn()
    with turning(two):
        until(lambda: two.is_leader, what="the standby to lead")
    one.connection.close()


def test_it_outlives_a_restart_of_redis(tmp_path: Path, home: Path) -> None:
    """Reliability 19."""
    folder = tmp_path / "r"
    folder.mkdir()
    with redis_server(folder) as url:
        scheduler = a_scheduler(url, home)
        running = turning(scheduler)
        running.__enter__()
        until(lambda: scheduler.is_leader, what="a leader")
    try:
        until(lambda: not scheduler.is_leader, what="the loss to be noticed")
        with redis_server(folder):
            until(lambda: scheduler.is_leader, what="it to lead again")
    finally:
        with redis_server(folder):
            running.__exit__(None, None, None)


@pytest.mark.parametrize("hold", [False, True], ids=["healed", "old connections dead"])
def test_a_leader_in_a_black_hole_hands_over_and_two_never_lead_afterwards(broker: Broker, redis_url: str, home: Path, hold: bool) -> None:
    with Proxy(redis_url.removeprefix("unix://")) as tunnel:
        near, far = a_scheduler(redis_url, home), a_scheduler(tunnel.redis_url, home, timeout=1.0)
        far.turn()
        assert far.is_leader
        tunnel.black_hole()
        with turning(near, far):
            until(lambda: near.is_leader and not far.is_leader, what="the other one to lead alone")
            tunnel.heal(hold=hold)
            passed = tunnel.passed
            until(lambda: tunnel.passed > passed, what="the first one to be back")
            run_key = a_retry_in(broker, 0.5)
            until(lambda: state(broker, run_key) is TaskState.QUEUED, what="the retry to be queued")
            assert (near.is_leader, far.is_leader) == (True, False)


def test_it_is_seen_by_the_tools_of_rq_scheduler(broker: Broker, redis_url: str, home: Path) -> None:
    scheduler = a_scheduler(redis_url, home)
    scheduler.turn()
    assert broker.connection.hexists(scheduler.key, "birth")
    scheduler.register_death()
    assert broker.connection.hexists(scheduler.key, "death")
    scheduler.connection.close()


def test_a_birth_whose_answer_got_lost_is_no_hindrance(broker: Broker, redis_url: str, home: Path) -> None:
    scheduler = a_scheduler(redis_url, home)
    scheduler.register_birth()
    scheduler.turn()
    assert scheduler.is_leader
    scheduler.connection.close()


@pytest.mark.parametrize("name", ["enqueue_at", "enqueue_in", "schedule", "cron", "cancel", "enqueue_job", "get_jobs", "get_jobs_to_queue",
                                  "get_queue_for_job", "change_execution_time", "_create_job"])
def test_what_would_go_past_the_runs_is_refused(name: str, redis_url: str, home: Path) -> None:
    scheduler = a_scheduler(redis_url, home)
    with pytest.raises(NotImplementedError, match=name):
        getattr(scheduler, name)()
    scheduler.connection.close()


def test_entries_are_counted_without_being_read(broker: Broker, redis_url: str, home: Path) -> None:
    run_key = a_retry_in(broker, 60)
    scheduler = a_scheduler(redis_url, home)
    job = broker.task_statuses(run_key)[0].job_id
    assert (scheduler.count(), job in scheduler, "x" in scheduler) == (1, True, False)
    scheduler.connection.close()


def test_tidying_forgets_a_run_that_is_over_once_it_is_recorded(broker: Broker, db: redis.Redis) -> None:
    object.__setattr__(broker.settings.broker, "run_retention", timedelta(0))
    version = a_version(specs=[an_empty_task("a")])
    run = a_run(version)
    broker.create_run(run, version)
    tidy(broker)
    assert broker.run_exists(run.key)
    events = EventStream(db)
    events.acknowledge([entry for entry, _ in events.read("a", block_ms=0)])
    tidy(broker)
    assert not broker.run_exists(run.key)


def test_tidying_keeps_up_with_many_short_runs(broker: Broker, db: redis.Redis) -> None:
    object.__setattr__(broker.settings.broker, "run_retention", timedelta(0))
    version = a_version(specs=[an_empty_task("a")])
    for number in range(250):
        broker.create_run(a_run(version, run_id=f"r{number}"), version)
    events = EventStream(db)
    while entries := events.read("a", count=1000, block_ms=0):
        events.acknowledge([entry for entry, _ in entries])
    until(lambda: tidy(broker) or not broker.all_runs(), patience=NOISE, what="all runs to be forgotten, in about one round")


HUB = """\
import sys
from datetime import timedelta
from pathlib import Path
from tests.integration.scheduler.test_scheduler import a_hub
a_hub(sys.argv[1], Path(sys.argv[2])).run()
"""


def a_hub(url: str, home: Path) -> Hub:
    """A hub with one chore, which leaves marks in HOME."""

    def chore(stop: threading.Event) -> None:
        (home / "working").touch()
        stop.wait()
        (home / "stopped").touch()

    idle: Callable[[], bool] = (home / "idle").exists
    return Hub(a_scheduler(url, home), [Chore(name="mark", run=chore)], idle_exit=timedelta(seconds=0.3), is_idle=idle)


@pytest.fixture
def hub(redis_url: str, db: redis.Redis, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", HUB, redis_url, str(home)], cwd=Path(__file__).parents[3])
    until((home / "working").exists, what="the chore to be begun")
    yield process
    process.kill()
    process.wait()


def test_a_hub_ends_when_it_has_been_idle_for_long_enough(hub: subprocess.Popen[bytes], home: Path) -> None:
    assert hub.poll() is None
    (home / "idle").touch()
    assert hub.wait(timeout=PATIENCE) == 0
    assert (home / "stopped").exists()


def test_a_hub_ends_in_order_at_sigterm(hub: subprocess.Popen[bytes], home: Path, db: redis.Redis) -> None:
    os.kill(hub.pid, signal.SIGTERM)
    hub.wait(timeout=PATIENCE)
    assert (home / "stopped").exists()
    assert db.get(Scheduler.scheduler_lock_key) is None
