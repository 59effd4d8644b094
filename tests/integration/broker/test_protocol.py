"""The protocol number in a real Redis, and the processes that it is agreed with."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from rqflow.broker import keys, protocol
from rqflow.broker.broker import Broker
from rqflow.exceptions import Conflict
from rqflow.scheduler.scheduler import Scheduler
from rqflow.settings import Settings
from tests.unit.builders import a_run, a_version

Live = Callable[[int], None]


@pytest.fixture
def a_worker(db: redis.Redis) -> Live:
    """Register a worker of some protocol."""

    def register(number: int) -> None:
        key = f"{keys.RQ_WORKER}w{number}"
        db.sadd(keys.RQ_WORKERS, key)
        db.hset(key, mapping={"hostname": "hpc1", "pid": "7", "rqflow": "9.1", "protocol": str(number)})

    return register


def test_first_process_sets_the_number_and_neighbours_raise_it(db: redis.Redis, a_worker: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    protocol.join(db)
    assert db.get(keys.PROTOCOL) == b"1"
    a_worker(1)
    monkeypatch.setattr(protocol, "PROTOCOL", 2)
    protocol.join(db)
    assert db.get(keys.PROTOCOL) == b"2"
    monkeypatch.setattr(protocol, "PROTOCOL", 3)
    with pytest.raises(Conflict, match="too new to work with worker w1 on hpc1"):
        protocol.join(db)
    monkeypatch.setattr(protocol, "PROTOCOL", 0)
    with pytest.raises(Conflict, match="too old"):
        protocol.check(db)
    assert db.get(keys.PROTOCOL) == b"2", "who is refused changes nothing"


def test_unfinished_runs_hold_off_a_release_that_is_too_new_for_them(db: redis.Redis, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    protocol.join(db)
    broker, version = Broker(db, Settings(home=home)), a_version()
    broker.create_run(a_run(version), version)
    monkeypatch.setattr(protocol, "PROTOCOL", 3)
    with pytest.raises(Conflict, match="runs of protocol 1 are unfinished"):
        protocol.join(db)
    broker.cancel_run(a_run(version).key, "ada")
    protocol.join(db)
    assert db.get(keys.PROTOCOL) == b"3"


def test_scheduler_is_listed_while_it_lives(db: redis.Redis, redis_url: str, home: Path) -> None:
    scheduler = Scheduler(db, Broker(db, Settings(home=home)), lock_ttl=timedelta(seconds=1))
    scheduler.heartbeat()
    (found,) = protocol.processes(db)
    assert (found.kind, found.pid, found.protocol, found.version) == ("scheduler", os.getpid(), protocol.PROTOCOL, protocol.release())
    db.delete(scheduler.key)
    assert protocol.processes(db) == []
    assert db.scard(keys.SCHEDULERS) == 0
    scheduler.heartbeat()
    assert len(protocol.processes(db)) == 1
    scheduler.register_death()
    assert protocol.processes(db) == []


def test_stock_workers_are_left_out(db: redis.Redis, a_worker: Live) -> None:
    db.sadd(keys.RQ_WORKERS, f"{keys.RQ_WORKER}stock")
    db.hset(f"{keys.RQ_WORKER}stock", mapping={"hostname": "x", "version": "3.0.0"})
    a_worker(1)
    assert [process.name for process in protocol.processes(db)] == ["w1"]
