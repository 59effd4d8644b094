"""Reliability 34: a hub killed by -9 before any of its calls loses nothing and doubles nothing; the next one goes on.

In each world there is something to do for a hub. One that kills itself at an early call meets it, and the next one goes on; then one that kills itself
at a later call meets the same world anew, and so on, until one has done all before it came to its end. All calls are stepped through with
RQFLOW_TEST_KILL_EVERY=1, which takes some minutes; else one of so many.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from rqflow import clock
from rqflow.actions import submit, trigger
from rqflow.broker import creation, keys
from rqflow.broker.broker import Broker
from rqflow.broker.connection import open_connection
from rqflow.broker.events import EventStream
from rqflow.broker.messages import Claim, End
from rqflow.dag.asking import START_RUN
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version
from rqflow.recorder.recorder import Recorder
from rqflow.scheduler.epoch import EpochKeeper
from rqflow.settings import Settings
from rqflow.states import RunState, TaskState
from rqflow.store import runs, tasks
from rqflow.store.engine import Engine, open_engine, reading, transaction
from tests.integration.broker import playing
from tests.profile import ENVIRON
from tests.unit.builders import a_task, a_version
from tests.waiting import is_alive, until

#: Leaders follow each other soon, and look often.
SOON = {"RQFLOW__SCHEDULER__LOCK_TTL": "0.2s", "RQFLOW__WORKER__LEASE": "0.4s", "RQFLOW__BROKER__RUN_RETENTION": "0s"}
#: Of so many calls one is tried.
EVERY = int(os.environ.get("RQFLOW_TEST_KILL_EVERY", "13"))
#: They are shared out among so many tests.
PARTS = 2
#: Seconds that a task waits for its next try.
DELAY = 0.05


class Stem:
    """Where hubs are forked from."""

    def __init__(self, environ: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as stream:
            self._process = subprocess.Popen([sys.executable, "-m", "tests.integration.scheduler.a_hub_to_kill"], cwd=Path(__file__).parents[3],
                                             env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, text=True)
        self._hub = 0

    def _tell(self, line: str) -> int:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def start(self, thread: str = "MainThread", number: int = 0) -> int:
        """Start a hub that dies at that call of that thread; its pid."""
        self._hub = self._tell(f"{thread} {number}")
        return self._hub

    def wait(self) -> int:
        """Wait for the end of the hub; how it ended, as `subprocess` says it."""
        self._hub = 0
        return self._tell("wait")

    def kill(self) -> None:
        """End the hub."""
        os.kill(self._hub, signal.SIGKILL)
        self.wait()

    def close(self) -> None:
        """End the hub, if there is one, and the stem."""
        if self._hub:
            self.kill()
        self._process.communicate()


class World:
    """Redis, a history, and a worker that is played; `given` has all runs that there must be."""

    def __init__(self, db: redis.Redis, engine: Engine, home: Path, url: str) -> None:
        settings = Settings(home=home)
        self.db, self.engine = db, engine
        self.broker = Broker(open_connection(url, settings), settings, caller="w1")
        self.given: list[tuple[RunInfo, Version]] = []
        self.asked: list[str] = []
        self.claimed: list[tuple[str, str, int]] = []
        self.ended: list[tuple[str, str, int]] = []
        self.held: list[Claim] = []

    def __enter__(self) -> World:
        self.db.flushall()
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.dispose()
        self.broker.connection.close()

    def save(self, version: Version) -> Version:
        submit.register(self.broker, self.engine, [version])
        return version

    def row(self, version: Version, run_id: str) -> RunInfo:
        """A run of which only the history has been told."""
        run = trigger.by_hand(version, trigger.Given(run_id=run_id), clock.utcnow())
        with transaction(self.engine) as connection:
            assert runs.create(connection, run)
        self.given.append((run, version))
        return run

    def start(self, version: Version, run_id: str) -> RunInfo:
        run = self.row(self.save(version), run_id)
        trigger.start(self.broker, self.engine, run, version, by="ann")
        return run

    def ask(self, version: Version, **asked: str) -> None:
        """Ask the hub for a run, as a task does."""
        self.asked.append(name := f"q{len(self.asked)}")
        self.db.xadd(keys.REQUESTS, {"id": name, "kind": START_RUN, "payload": json.dumps({"dag_id": version.dag_id, **asked})})

    def claim(self) -> list[Claim]:
        """Take what there is, and note it."""
        claims = playing.claim(self.broker)
        self.claimed += [(one.run_key, one.task_id, one.try_number) for one in claims]
        self.held += claims
        return claims

    def end(self, *claims: Claim, lazily: bool = False) -> None:
        """End tasks: the first try of what is called flaky in failure. Lazily: leave all that follows and needs another step to the hub."""
        ends = [self._end(one) for one in claims]
        answer = self.broker.turn(queues=(), wanted=0, ends=ends)
        if answer.closed:
            return
        assert set(answer.accepted) <= {"ok"}, answer
        self.ended += [(one.run_key, one.task_id, one.try_number) for one in claims]
        self.held = [one for one in self.held if one not in claims]
        if not lazily:
            self.broker.advance_all(answer.unfinished)

    def _end(self, one: Claim) -> End:
        if one.task_id == "flaky" and one.try_number == 1:
            return playing.end(one, TaskState.UP_FOR_RETRY, retry_in=DELAY)
        return playing.end(one, TaskState.FAILED if one.task_id == "bad" else TaskState.SUCCESS)

    def record(self) -> None:
        recorder = Recorder(EventStream(self.db), self.engine, "r")
        while recorder.step(block_ms=0):
            pass

    def work(self) -> bool:
        """Be a worker for a moment; tell whether all is done and recorded."""
        self.claim()
        self.end(*self.held)
        return not self.held and not self.db.xlen(keys.REQUESTS) and not self.db.xlen(keys.PREPARING) and not EventStream(self.db).backlog() \
            and all(record.is_finished for record in self.records())

    def records(self) -> list[runs.RunRecord]:
        with reading(self.engine) as connection:
            return runs.search(connection)

    def audit(self) -> None:
        """Each run is there once, and each task of it has run once per try, in the history too."""
        for name in self.asked:
            said, = map(json.loads, self.db.lrange(keys.ANSWER + name, 0, -1))
            assert set(said) == {"answer"}, said
        assert Counter(self.claimed) == Counter(self.ended)
        assert set(Counter(self.claimed).values()) <= {1}
        found = {record.run_key: record for record in self.records()}
        assert len(found) == len(self.given) + len(self.asked)
        assert {run.key for run, _ in self.given} <= set(found)
        versions = {version.dag_id: version for _, version in self.given}
        for key, record in found.items():
            version = versions[record.dag_id]
            with reading(self.engine) as connection:
                rows, tries = tasks.of_run(connection, key), tasks.tries(connection, key)
            assert record.state is (RunState.FAILED if "bad" in version.by_id else RunState.SUCCESS)
            assert {row.task_id: row.state.value for row in rows} == {task.task_id: should(task.task_id) for task in version.tasks}
            wanted = {(key, task.task_id, number) for task in version.tasks if should(task.task_id) != "upstream_failed"
                      for number in ([1, 2] if task.task_id == "flaky" else [1])}
            assert {(key, one.task_id, one.try_number) for one in tries} == wanted == {one for one in self.claimed if one[0] == key}


def should(task_id: str) -> str:
    return {"bad": "failed"}.get(task_id, "upstream_failed" if task_id.startswith("under") else "success")


CHAIN = a_version({"a": [], "flaky": ["a"], "b": ["flaky"]}, specs=[a_task("flaky", retries=1, retry_delay=DELAY)], dag_id="chain")
#: More than one step may do.
WIDE = a_version({"bad": [], **{f"under{number}": ["bad"] for number in range(1300)}}, dag_id="wide")


def wiped(world: World) -> None:
    """Redis was emptied: one task runs, one has ended, one waits for its retry, a run was never written."""
    EpochKeeper(world.broker, world.engine).believe()
    for number in range(2):
        world.start(CHAIN, f"r{number}")
    first, second = world.claim()
    world.end(first)
    flaky = next(one for one in world.claim() if one.task_id == "flaky")
    world.end(flaky)
    world.row(CHAIN, "r2")
    world.record()
    assert world.held == [second]
    world.db.flushall()
    world.ask(CHAIN, run_id="asked")


def left(world: World) -> None:
    """Nothing is wrong with Redis, but somebody was killed over much of what there was to do."""
    EpochKeeper(world.broker, world.engine).believe()
    over = world.start(CHAIN, "over")
    while not world.broker.is_finished(over.key):
        world.end(*world.claim())
        world.broker.move_due()
    world.record()
    world.start(WIDE, "wide")
    world.end(*world.claim(), lazily=True)
    world.start(CHAIN, "r0")
    world.end(*world.claim())
    world.end(*world.claim())
    half = world.row(CHAIN, "half")
    creation.prepare(world.broker.steps, half, CHAIN)
    world.db.zadd(keys.PREPARING, {half.key: 1})
    world.ask(CHAIN, run_id="asked")
    world.ask(CHAIN)


@pytest.fixture
def database(tmp_path: Path, sqlite_template: Path) -> Callable[[], Engine]:
    """Give an empty history, each time in the same file."""
    file = tmp_path / "rqflow.db"

    def fresh() -> Engine:
        for old in tmp_path.glob("rqflow.db*"):
            old.unlink()
        shutil.copy(sqlite_template, file)
        return open_engine(f"sqlite:///{file}")

    return fresh


@pytest.fixture
def stem(tmp_path: Path, home: Path, redis_url: str) -> Iterator[Stem]:
    environ = {**os.environ, **ENVIRON, **SOON, "RQFLOW_HOME": str(home), "RQFLOW__REDIS__URL": redis_url,
               "RQFLOW__DATABASE__URL": f"sqlite:///{tmp_path / 'rqflow.db'}"}
    made = Stem(environ, tmp_path / "hubs.log")
    yield made
    made.close()


@pytest.mark.timeout(600 if EVERY == 1 else 180)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize(("make", "thread", "first"), [
    (wiped, "recovery", 1), (wiped, "recorder", 2), (left, "recovery", 3), (left, "recorder", 4), (left, "MainThread", 5), (left, "tidying", 6),
    (left, "requests", 7),
])
def test_r34_a_hub_killed_before_any_of_its_calls_loses_and_doubles_nothing(
    make: Callable[[World], None], thread: str, first: int, part: int, stem: Stem, database: Callable[[], Engine], redis_url: str, home: Path,
) -> None:
    with redis.Redis.from_url(redis_url) as db:
        numbers = itertools.count(min(first, EVERY) + part * EVERY, PARTS * EVERY)
        killed = itertools.takewhile(lambda number: go_through(stem, thread, number, World(db, database(), home, redis_url), make), numbers)
        # All may be done before a thread of few calls comes to those of a later part.
        assert len(list(killed)) > 0 or part


def go_through(stem: Stem, thread: str, number: int, world: World, make: Callable[[World], None]) -> bool:
    """Let a hub that is killed at that call, and the one after it, do what there is to do; tell whether the first came to that call."""
    with world:
        make(world)
        hub = stem.start(thread, number)
        until(lambda: not is_alive(hub) or world.work(), what=f"the hub to be killed at call {number}, or to do all")
        was_killed = not is_alive(hub)
        if was_killed:
            assert stem.wait() == -signal.SIGKILL, stem.log.read_text()
            hub = stem.start()
            until(world.work, what=f"the next hub to do all after one was killed at call {number}: {stem.log.read_text()[-3000:]}")
        world.audit()
        stem.kill()
    return was_killed
