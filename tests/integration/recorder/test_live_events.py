"""What the broker's steps tell, recorded: history and live state agree."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from rqflow.actions import query
from rqflow.broker.broker import Broker
from rqflow.broker.events import EventStream
from rqflow.recorder.recorder import Recorder
from rqflow.settings import Settings
from rqflow.states import RunState, TaskState
from rqflow.store import dags, runs, tasks, xcoms
from rqflow.store.engine import Engine, reading, run_in_transaction
from tests.integration.broker.playing import claim, end, tell
from tests.unit.builders import a_run, a_task, a_version, an_empty_task

OUTCOMES = [TaskState.SUCCESS, TaskState.SUCCESS, TaskState.FAILED, TaskState.SKIPPED, TaskState.UP_FOR_RETRY]


@pytest.fixture
def broker(db: redis.Redis, home: Path) -> Broker:
    return Broker(db, Settings(home=home), caller="w1")


@pytest.fixture
def recorder(db: redis.Redis, engine: Engine) -> Recorder:
    return Recorder(EventStream(db), engine, "a")


def record_all(recorder: Recorder) -> None:
    while recorder.step(block_ms=0):
        pass


def compare(broker: Broker, engine: Engine, run_key: str) -> None:
    """Hold what SQL has against what Redis has. A task to which nothing happened has no row."""
    status = broker.run_status(run_key)
    assert status is not None
    live = {one.task_id: one for one in broker.task_statuses(run_key)}
    with reading(engine) as connection:
        run = runs.by_key(connection, run_key)
        assert run is not None
        assert (run.state, run.started_at, run.ended_at) == (status.state, status.started_at, status.ended_at)
        found = {one.task_id: one for one in tasks.of_run(connection, run_key)}
        assert xcoms.of_run(connection, run_key) == broker.xcoms(run_key)
    assert {name for name, one in live.items() if one.state is not TaskState.PENDING} <= found.keys()
    for name, one in found.items():
        now = live[name]
        assert (one.state, one.try_number, one.max_tries) == (now.state, now.try_number, now.max_tries), name
        assert (one.task_index, one.worker, one.execution_id, one.ended_at) == (now.index, now.worker, now.execution_id, now.ended_at), name


def test_tries_xcoms_and_facts_arrive(broker: Broker, recorder: Recorder, engine: Engine) -> None:
    version = a_version({"a": [], "b": ["a"]}, specs=[a_task("a", retries=1, retry_delay=0.0)])
    run = a_run(version)
    run_in_transaction(engine, lambda connection: runs.create(connection, run))
    broker.create_run(run, version)
    (first,) = claim(broker)
    tell(broker, end(first, TaskState.UP_FOR_RETRY, reason="exit code 3", facts={"exit_code": 3, "host": "node1"}, ended_ago=1.0, duration=2.0))
    (second,) = claim(broker)
    tell(broker, end(second, xcoms={"return_value": '"é"'}, facts={"exit_code": 0, "host": "node2", "max_rss_bytes": 1 << 30}))
    (third,) = claim(broker)
    tell(broker, end(third), end(first, TaskState.FAILED, facts={"exit_code": 9}))
    record_all(recorder)
    compare(broker, engine, run.key)
    with reading(engine) as connection:
        one, two, three = tasks.tries(connection, run.key)
        assert runs.by_key(connection, run.key).info == run
        assert tasks.tries(connection, run.key, with_facts=False) == [replace(each, facts={}) for each in (one, two, three)]
    assert (one.state, one.exit_code, one.host, one.reason) == (TaskState.UP_FOR_RETRY, 3, "node1", "exit code 3")
    assert (one.ended_at - one.started_at).total_seconds() == pytest.approx(2.0, abs=1e-5)
    assert one.late is None or one.late["facts"] == {"exit_code": 9}
    assert (two.state, two.try_number, two.host, two.max_rss_bytes, two.worker) == (TaskState.SUCCESS, 2, "node2", 1 << 30, "w1")
    assert (three.task_id, three.state, three.exit_code) == ("b", TaskState.SUCCESS, None)


def test_a_run_is_shown_the_same_when_redis_has_forgotten_it(broker: Broker, recorder: Recorder, engine: Engine) -> None:
    version = a_version({"a": [], "b": ["a"]}, specs=[a_task("a", retries=1, retry_delay=0.0)])
    run = a_run(version)
    run_in_transaction(engine, lambda connection: (dags.save_version(connection, version), runs.create(connection, run)))
    broker.create_run(run, version)
    tell(broker, end(claim(broker)[0], TaskState.UP_FOR_RETRY, reason="exit code 3", facts={"exit_code": 3, "host": "node1"}))
    tell(broker, end(claim(broker)[0], facts={"exit_code": 0}))
    record_all(recorder)
    a, b = query.show(broker, engine, run.key).tasks
    assert (a.state, a.queue, a.job_id != "", b.state, b.tries) == (TaskState.SUCCESS, "default", True, TaskState.QUEUED, ())
    assert [(one.try_number, one.state, one.exit_code, one.worker) for one in a.tries] == [
        (1, TaskState.UP_FOR_RETRY, 3, "w1"), (2, TaskState.SUCCESS, 0, "w1")]
    assert a.tries[0].reason == "exit code 3"
    (last,) = claim(broker)
    now = query.show(broker, engine, run.key).tasks[1]
    assert [(one.state, one.execution_id, one.host) for one in now.tries] == [(TaskState.RUNNING, last.execution_id, "")]
    tell(broker, end(last))
    record_all(recorder)
    before = query.show(broker, engine, run.key)
    broker.forget_run(run.key)
    after = query.show(broker, engine, run.key)
    assert [(one.state, one.try_number, one.worker, one.ended_at, len(one.tries)) for one in after.tasks] == [
        (one.state, one.try_number, one.worker, one.ended_at, len(one.tries)) for one in before.tasks]
    assert [(one.state, one.exit_code, one.execution_id) for task in after.tasks for one in task.tries] == [
        (one.state, one.exit_code, one.execution_id) for task in before.tasks for one in task.tries]


def test_run_that_begins_and_ends_in_one_step_has_ended(broker: Broker, recorder: Recorder, engine: Engine) -> None:
    version = a_version(specs=[an_empty_task("a")])
    run = a_run(version)
    broker.create_run(run, version)
    record_all(recorder)
    compare(broker, engine, run.key)
    with reading(engine) as connection:
        assert runs.by_key(connection, run.key).state is RunState.SUCCESS


@pytest.mark.parametrize("seed", range(4))
def test_history_follows_random_runs_step_by_step(broker: Broker, recorder: Recorder, engine: Engine, seed: int) -> None:
    chance = random.Random(seed)
    names = [f"t{n}" for n in range(12)]
    edges = {name: chance.sample(names[:at], min(at, chance.randint(0, 3))) for at, name in enumerate(names)}
    rules = ["all_success", "all_done", "one_failed", "none_failed"]
    version = a_version(edges, specs=[a_task(name, retries=1, retry_delay=0.0, trigger_rule=chance.choice(rules)) for name in names])
    run = a_run(version)
    broker.create_run(run, version)
    while held := claim(broker, wanted=chance.randint(1, 3)):
        chance.shuffle(held)
        for one in held:
            xcom = {"x": str(chance.random())} if chance.random() < 0.3 else {}
            tell(broker, end(one, chance.choice(OUTCOMES), facts={"exit_code": chance.randint(0, 99)}, xcoms=xcom))
            if chance.random() < 0.1:
                broker.mark(run.key, [chance.randrange(12)], TaskState.SUCCESS, "ada")
        record_all(recorder)
        compare(broker, engine, run.key)
    record_all(recorder)
    compare(broker, engine, run.key)
    if chance.random() < 0.5:
        broker.clear(run.key, list(range(6)), "ada")
        record_all(recorder)
        compare(broker, engine, run.key)
