"""Tasks that a person lets run again follow the latest version of their DAG; the structure of their run stays."""

from __future__ import annotations

import redis

from rqflow.broker import keys
from rqflow.broker.broker import Broker
from rqflow.broker.restoring import Remembered, restore
from rqflow.dag.version import amend
from rqflow.states import TaskState
from tests.integration.broker.playing import claim, end, play, states, tell
from tests.unit.builders import a_run, a_task, a_version

OLD = a_version({"a": [], "b": ["a"], "c": ["b"]}, commands={"a": "false"})
#: b is gone, z is new, a is mended and goes to another queue.
NEW = a_version({"z": [], "a": ["z"], "c": ["a"]}, specs=[a_task("a", "true", queue="big", retries=3, weight=7)])


def failed_run(broker: Broker) -> str:
    run = a_run(OLD)
    broker.create_run(run, OLD)
    tell(broker, end(claim(broker)[0], TaskState.FAILED))
    return run.key


def test_a_cleared_task_runs_as_the_later_version_says_in_the_queue_that_it_says(broker: Broker, db: redis.Redis) -> None:
    key = failed_run(broker)
    assert broker.clear(key, [OLD.by_id["a"].index], "ann", version=NEW) == []
    assert claim(broker) == []
    again = claim(broker, queues=("big",))
    assert [(each.task_id, each.version, each.try_number, each.max_tries) for each in again] == [("a", NEW.sha, 2, 5)]
    assert db.hget(keys.RQ_JOB + again[0].job_id, "origin") == b"big"
    tell(broker, end(again[0]))
    assert states(broker, key) == {"a": "success", "b": "queued", "c": "pending"}
    assert [each.version for each in claim(broker)] == [OLD.sha], "b was not cleared"


def test_the_structure_of_the_run_stays() -> None:
    amended = amend(OLD, NEW)
    assert [(task.task_id, task.index, task.upstream, task.downstream) for task in amended.tasks] == [
        (task.task_id, task.index, task.upstream, task.downstream) for task in OLD.tasks]
    assert amended.by_id["a"].fields["bash_command"] == "true"
    assert amended.by_id["b"] == OLD.by_id["b"]
    assert (amended.sha, amended.json) == (NEW.sha, NEW.json)


def test_a_task_that_the_later_version_lacks_runs_as_it_was(broker: Broker) -> None:
    key = failed_run(broker)
    broker.clear(key, [task.index for task in OLD.tasks], "ann", version=NEW)
    assert play(broker, queues=("big", "default")) == ["a", "b", "c"]


def test_without_a_version_a_task_keeps_the_one_that_it_followed(broker: Broker) -> None:
    key = failed_run(broker)
    broker.clear(key, [0], "ann", version=NEW)
    tell(broker, end(claim(broker, queues=("big",))[0], TaskState.FAILED))
    broker.clear(key, [0], "ann")
    assert [each.version for each in claim(broker, queues=("big",))] == [NEW.sha]


def test_a_task_may_go_back_to_the_version_of_its_run(broker: Broker, db: redis.Redis) -> None:
    key = failed_run(broker)
    broker.clear(key, [0], "ann", version=NEW)
    broker.clear(key, [0], "ann", version=OLD)
    assert [(each.version, each.queue) for each in claim(broker)] == [(OLD.sha, "default")]
    assert db.zcard(f"{keys.READY}big") == 0
    assert db.llen(f"{keys.RQ_QUEUE}big") == 0


def test_an_automatic_retry_stays_with_the_version_of_its_try(broker: Broker) -> None:
    key = failed_run(broker)
    broker.clear(key, [0], "ann", version=NEW)
    tell(broker, end(claim(broker, queues=("big",))[0], TaskState.UP_FOR_RETRY))
    assert [(each.version, each.try_number) for each in claim(broker, queues=("big",))] == [(NEW.sha, 3)]


def test_redis_keeps_a_version_as_long_as_a_run_of_it_or_a_task_that_follows_it(broker: Broker, db: redis.Redis) -> None:
    key = failed_run(broker)
    broker.clear(key, [0], "ann", version=NEW)
    play(broker, queues=("big", "default"))
    assert db.exists(keys.VERSION + NEW.sha, keys.VERSION + OLD.sha) == 2
    broker.forget_run(key)
    assert db.keys(f"{keys.VERSION}*") == []
    assert db.keys(f"{keys.RUN}*") == []
    assert not db.zcard(f"{keys.RQ_FINISHED}big")


def test_after_a_wipe_the_task_follows_the_same_version(broker: Broker, db: redis.Redis) -> None:
    run = a_run(OLD)
    known = [Remembered(index=0, state=TaskState.QUEUED, try_number=2, max_tries=5, seq=10, version=NEW.sha)]
    for _ in range(2):
        restore(broker, run, OLD, known, others=[NEW])
    assert [(each.task_id, each.version, each.queue) for each in claim(broker, queues=("big",))] == [("a", NEW.sha, "big")]


def test_the_events_of_a_task_tell_which_version_it_follows(broker: Broker, db: redis.Redis) -> None:
    key = failed_run(broker)
    broker.clear(key, [0], "ann", version=NEW)
    events = b"".join(fields[b"e"] for _, fields in db.xrange(keys.EVENTS)).decode()
    assert f'"version":"{NEW.sha}"' in events
    assert OLD.sha not in events
