"""retry_on_other_worker (reliability R86): on another host when there is one, else on another work_dir, else where it was."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import redis

from rqflow.broker import control, keys
from rqflow.broker.broker import Broker
from rqflow.broker.messages import Claim
from rqflow.states import TaskState
from tests.integration.broker.playing import claim, end, tell
from tests.unit.builders import a_run, a_task, a_version

LEASE = 2
VERSION = a_version(specs=[a_task("a", retries=3, retry_on_other_worker=True)])


class Lab:
    """Workers by their names, which are registered as RQ's are, and a run whose task has failed on the first of them."""

    def __init__(self, db: redis.Redis, new_broker: Callable[[str], Broker]) -> None:
        self.db, self.new_broker = db, new_broker
        self.brokers: dict[str, Broker] = {}

    def join(self, name: str, *, labels: str = "", queues: str = "default", is_stock: bool = False) -> Broker:
        key = keys.RQ_WORKER + name
        self.db.sadd(keys.RQ_WORKERS, key)
        self.db.sadd(f"{keys.RQ_WORKERS}:{queues}", key)
        self.db.hset(key, mapping={"queues": queues, "labels": labels, **({} if is_stock else {"slots": "1"})})
        self.db.expire(key, LEASE + 60)
        self.brokers[name] = self.new_broker(name)
        return self.brokers[name]

    def fail(self, name: str, *, labels: tuple[str, ...] = ()) -> None:
        one = self.got(name, labels=labels)
        tell(self.brokers[name], end(one, TaskState.UP_FOR_RETRY, retry_in=0))

    def got(self, name: str, *, labels: tuple[str, ...] = ()) -> Claim:
        one, = claim(self.brokers[name], labels=labels)
        return one

    def nothing(self, name: str) -> bool:
        return claim(self.brokers[name]) == []


@pytest.fixture
def lab(db: redis.Redis, new_broker: Callable[[str], Broker]) -> Lab:
    lab = Lab(db, new_broker)
    broker = lab.join("one.lab.dir1.aa")
    broker.create_run(a_run(VERSION), VERSION)
    return lab


def test_r86_the_second_attempt_is_made_on_another_host_when_there_is_one(lab: Lab) -> None:
    lab.join("two.lab.dir1.bb")
    lab.join("one.lab.dir2.cc")
    lab.fail("one.lab.dir1.aa")
    told = lab.brokers["one.lab.dir1.aa"].task_statuses(a_run(VERSION).key)[0]
    assert (told.state, told.reason) == (TaskState.PARKED, "retry_on_other_worker: waits for another worker than that on one.lab.dir1")
    assert lab.nothing("one.lab.dir1.aa")
    assert lab.nothing("one.lab.dir2.cc"), "it is on the same host"
    assert lab.got("two.lab.dir1.bb").try_number == 2


def test_r86_another_work_dir_of_the_host_is_better_than_none(lab: Lab) -> None:
    lab.join("one.lab.dir2.cc")
    lab.fail("one.lab.dir1.aa")
    assert lab.nothing("one.lab.dir1.aa")
    lab.fail("one.lab.dir2.cc")
    assert lab.nothing("one.lab.dir2.cc")
    assert lab.got("one.lab.dir1.aa").try_number == 3


def test_r86_without_another_worker_the_one_before_goes_on(lab: Lab) -> None:
    lab.fail("one.lab.dir1.aa")
    assert lab.got("one.lab.dir1.aa").try_number == 2


@pytest.mark.parametrize("why", ["gone", "not heard of", "another queue", "without the label", "paused", "stock"])
def test_r86_one_that_could_not_run_it_is_not_waited_for(why: str, lab: Lab, db: redis.Redis) -> None:
    lab.join("two.lab.dir1.bb", queues="other" if why == "another queue" else "default", is_stock=why == "stock")
    key = f"{keys.RQ_WORKER}two.lab.dir1.bb"
    if why == "gone":
        db.delete(key)
    elif why == "not heard of":
        db.expire(key, 59)
    elif why == "paused":
        control.pause_worker(lab.brokers["one.lab.dir1.aa"], "two.lab.dir1.bb", "ann")
    if why == "without the label":
        version = a_version(specs=[a_task("a", retries=3, retry_on_other_worker=True, worker_labels=("gpu",))], dag_id="labelled")
        lab.brokers["one.lab.dir1.aa"].create_run(a_run(version), version)
        lab.brokers["one.lab.dir1.aa"].cancel_run(a_run(VERSION).key, "ann")
        db.hset(f"{keys.RQ_WORKER}one.lab.dir1.aa", "labels", "gpu")
        lab.fail("one.lab.dir1.aa", labels=("gpu",))
        assert lab.got("one.lab.dir1.aa", labels=("gpu",)).try_number == 2
        return
    lab.fail("one.lab.dir1.aa")
    assert lab.got("one.lab.dir1.aa").try_number == 2


def test_r86_it_waits_no_longer_than_the_other_one_lives(lab: Lab, db: redis.Redis) -> None:
    lab.join("two.lab.dir1.bb")
    lab.fail("one.lab.dir1.aa")
    assert lab.nothing("one.lab.dir1.aa")
    db.delete(f"{keys.RQ_WORKER}two.lab.dir1.bb")
    assert lab.got("one.lab.dir1.aa").try_number == 2


def test_r86_it_holds_after_a_delay_a_clear_and_a_give_back_and_leaves_no_trace(lab: Lab, db: redis.Redis) -> None:
    two, run = lab.join("two.lab.dir1.bb"), a_run(VERSION)
    one = lab.brokers["one.lab.dir1.aa"]
    tell(one, end(lab.got("one.lab.dir1.aa"), TaskState.UP_FOR_RETRY, retry_in=timedelta(milliseconds=1).total_seconds()))
    while not one.move_due().moved:
        pass
    assert lab.nothing("one.lab.dir1.aa")
    lab.got("two.lab.dir1.bb")
    two.beat({})
    assert lab.nothing("one.lab.dir1.aa"), "it was never started there: the try before is what counts"
    tell(two, end(lab.got("two.lab.dir1.bb"), TaskState.FAILED))
    one.clear(run.key, [0], "ann")
    assert lab.nothing("two.lab.dir1.bb")
    tell(one, end(lab.got("one.lab.dir1.aa")))
    assert db.keys(f"{keys.LABELLED}*") == []


def test_r86_a_cancel_takes_it_out_of_where_it_waits(lab: Lab, db: redis.Redis) -> None:
    lab.join("two.lab.dir1.bb")
    lab.fail("one.lab.dir1.aa")
    assert lab.brokers["one.lab.dir1.aa"].cancel_run(a_run(VERSION).key, "ann") == "cancelled"
    assert db.keys(f"{keys.LABELLED}*") == []
    assert lab.nothing("two.lab.dir1.bb")
