"""What the rows of the table of link faults are made of: a world with a tunnel in it, and cases in that world."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import redis

from rqflow.broker import keys
from rqflow.broker.broker import Broker
from rqflow.broker.connection import open_connection
from rqflow.broker.events import EventStream
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version
from rqflow.scheduler.scheduler import Scheduler
from rqflow.settings import Settings
from rqflow.worker.worker import Worker
from tests.integration.broker import playing
from tests.proxy import Proxy
from tests.unit.builders import a_run, a_task, a_version


@dataclass
class World:
    """A Redis seen directly (`db`, `near`) and through the tunnel (`far`); `run` has two tasks, a before b, a of two tries."""

    db: redis.Redis
    proxy: Proxy
    settings: Settings
    far: Broker = field(init=False)
    near: Broker = field(init=False)
    version: Version = field(init=False)
    run: RunInfo = field(init=False)
    answered: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.near = Broker(self.db, self.settings, caller="w1")
        self.far = Broker(open_connection(self.proxy.redis_url, self.settings), self.settings, caller="w1")
        self.version = a_version({"a": [], "b": ["a"]}, specs=[a_task("a", retries=1, retry_delay=0.0)])
        self.run = a_run(self.version)

    @property
    def connection(self) -> redis.Redis:
        return self.far.connection

    def start(self) -> None:
        assert self.near.create_run(self.run, self.version)

    def states(self) -> dict[str, str]:
        return playing.states(self.near, self.run.key)

    def events(self, **wanted: object) -> list[dict[str, Any]]:
        found = [event for _, fields in self.db.xrange(keys.EVENTS) for event in json.loads(fields[b"e"])]
        return [event for event in found if all(event.get(name) == value for name, value in wanted.items())]

    def try_of(self, task_id: str) -> int:
        return next(status.try_number for status in self.near.task_statuses(self.run.key) if status.task_id == task_id)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One place, ready to be called. `check` is given what it answered in the end; `once` says whether that is an answer to the first call."""

    call: Callable[[], Any]
    check: Callable[[Any], object]
    once: Callable[[Any], bool] = lambda _: True


#: How a place takes a fault. STEP: repeats over a reset, then raises a BrokerError for people. READ: the same with redis' error; LOOKS: reads,
#: then does a step. ONCE: is sent once and raises redis' error, its caller is a loop. LASTING: repeats as long as it takes. QUIET: raises nothing.
STEP, READ, LOOKS, ONCE, LASTING, QUIET = "step", "read", "looks", "once", "lasting", "quiet"
#: {place: (how it takes a fault, what makes its case)}
ROWS: dict[str, tuple[str, Callable[[World], Case]]] = {}


def row(place: str, how: str) -> Callable[[Callable[[World], Case]], Callable[[World], Case]]:
    """Enter what follows as the row of `place`."""
    def enter(make: Callable[[World], Case]) -> Callable[[World], Case]:
        assert place not in ROWS
        ROWS[place] = (how, make)
        return make

    return enter


def same(expected: Any) -> Callable[[Any], None]:
    """Return the check that the answer is `expected`."""
    def check(answer: Any) -> None:
        assert answer == expected

    return check


def true(*conditions: Callable[[], Any]) -> Callable[[Any], None]:
    """Return the check that these hold, whatever the answer was."""
    def check(_: Any) -> None:
        assert [condition() for condition in conditions] == [True] * len(conditions)

    return check


#: Beginning of the names of the places of Broker, and of what it reads.
BROKER = "broker/broker.py:Broker."
READING = "broker/reading.py:LiveState."


def ended(w: World) -> None:
    """Let the run end, and its events be recorded."""
    w.start()
    playing.play(w.near)
    stream = EventStream(w.db)
    stream.acknowledge([entry_id for entry_id, _ in stream.read("r", block_ms=0)])


def a_scheduler(w: World) -> Scheduler:
    return Scheduler(w.connection, w.far, lock_ttl=timedelta(minutes=1))


def a_worker(w: World, connection: redis.Redis) -> Worker:
    worker = Worker.from_settings(connection, w.settings, queues=["default"], slots=2)
    worker.name, worker.hostname, worker.pid, worker.worker_ttl = "w1", "here", 1, 60
    return worker
