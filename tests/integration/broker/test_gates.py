"""Pools, concurrency, priority and labels: who runs next, who waits and why, and that a freed slot is handed over."""

from __future__ import annotations

from collections.abc import Callable

import redis

from rqflow.broker.broker import Broker
from rqflow.states import TaskState
from tests.integration.broker.playing import claim, end, states, tell
from tests.unit.builders import a_run, a_task, a_version


def ids(claims: list) -> list[str]:
    return [each.task_id for each in claims]


def test_higher_weight_runs_first_and_equal_weight_by_age(broker: Broker) -> None:
    weights = {"old": 5, "low": 1, "high": 9, "young": 5}
    version = a_version(list(weights), specs=[a_task(name, weight=weight) for name, weight in weights.items()])
    broker.create_run(a_run(version), version)
    assert ids(claim(broker)) == ["high", "old", "young", "low"]


def test_a_runs_priority_goes_before_the_order_of_queueing(broker: Broker) -> None:
    version = a_version(["a"])
    broker.create_run(a_run(version, run_id="first"), version)
    broker.create_run(a_run(version, run_id="urgent", priority=10), version)
    assert [broker.run_info(each.run_key).run_id for each in claim(broker)] == ["urgent", "first"]


def test_r50_a_full_pool_parks_and_says_so_then_hands_over_by_priority(broker: Broker) -> None:
    broker.set_pool("db", 1)
    one = a_version(["busy"], each={"pool": "db"}, dag_id="one")
    broker.create_run(a_run(one), one)
    running = claim(broker)[0]
    weights = {"low": 1, "high": 9, "mid": 5}
    version = a_version(list(weights), specs=[a_task(name, weight=weight, pool="db") for name, weight in weights.items()])
    run = a_run(version)
    broker.create_run(run, version)
    assert claim(broker) == []
    assert {(s.state, s.reason) for s in broker.task_statuses(run.key)} == {(TaskState.PARKED, "pool db is full")}
    assert (broker.pools()["db"].used, broker.pools()["db"].parked) == (1, 3)
    order = []
    while running:
        tell(broker, end(running))
        claims = claim(broker)
        assert len(claims) <= 1
        running = claims[0] if claims else None
        order += ids(claims)
    assert order == ["high", "mid", "low"]
    assert broker.pools()["db"].used == 0


def test_the_default_pool_limits_once_it_has_slots_and_counts_before(broker: Broker) -> None:
    version = a_version(["a", "b", "c"])
    run = a_run(version)
    broker.create_run(run, version)
    first, second = claim(broker, wanted=2)
    assert (broker.pools()["default_pool"].slots, broker.pools()["default_pool"].used) == (None, 2)
    broker.set_pool("default_pool", 2)
    assert claim(broker) == []
    assert [s.reason for s in broker.task_statuses(run.key) if s.state is TaskState.PARKED] == ["pool default_pool is full"]
    tell(broker, end(first))
    (third,) = claim(broker)
    tell(broker, end(second), end(third))
    assert broker.pools()["default_pool"].used == 0


def test_nobody_barges_past_a_task_that_needs_more_slots(broker: Broker) -> None:
    broker.set_pool("db", 2)
    small = a_version(["s1", "s2"], each={"pool": "db"}, dag_id="small")
    broker.create_run(a_run(small), small)
    first, second = claim(broker)
    big = a_version(["big"], each={"pool": "db", "pool_slots": 2, "weight": 3}, dag_id="big")
    broker.create_run(a_run(big), big)
    assert claim(broker) == []
    late = a_version(["late"], each={"pool": "db"}, dag_id="late")
    broker.create_run(a_run(late), late)
    tell(broker, end(first))
    assert claim(broker) == [], "one slot is free, but it is kept for the one that ranks first"
    tell(broker, end(second))
    assert ids(claim(broker)) == ["big"]


def test_more_slots_let_waiting_tasks_go_at_once(broker: Broker) -> None:
    broker.set_pool("db", 1)
    version = a_version(["a", "b", "c"], each={"pool": "db"})
    broker.create_run(a_run(version), version)
    assert len(claim(broker)) == 1
    broker.set_pool("db", 3)
    assert len(claim(broker)) == 2


def test_many_free_slots_are_all_handed_over_in_parts(broker: Broker) -> None:
    broker.set_pool("db", 0)
    version = a_version([f"t{number}" for number in range(600)], each={"pool": "db"})
    run = a_run(version)
    broker.create_run(run, version)
    while "queued" in states(broker, run.key).values():
        assert claim(broker) == []
    broker.set_pool("db", 600)
    assert list(states(broker, run.key).values()).count("queued") == 500, "one step looks at no more"
    assert len(claim(broker, 600)) == 600


def test_a_pool_that_was_removed_holds_its_tasks_and_says_so(broker: Broker) -> None:
    version = a_version(["a"], each={"pool": "gone"})
    run = a_run(version)
    broker.create_run(run, version)
    assert claim(broker) == []
    assert broker.task_statuses(run.key)[0].reason == "pool gone does not exist"


def test_max_active_tasks_counts_over_all_runs_of_a_dag(broker: Broker) -> None:
    version = a_version(["a", "b"], max_active_tasks=3)
    one, two = a_run(version, run_id="one"), a_run(version, run_id="two")
    broker.create_run(one, version)
    broker.create_run(two, version)
    claims = claim(broker)
    assert len(claims) == 3
    assert sorted([*states(broker, one.key).values(), *states(broker, two.key).values()]) == ["parked", "running", "running", "running"]
    tell(broker, end(claims[0]))
    assert len(claim(broker)) == 1


def test_a_tasks_own_limit_counts_over_runs(broker: Broker) -> None:
    version = a_version(["a", "b"], specs=[a_task("a", max_active_per_dag=1)])
    for name in ("one", "two"):
        broker.create_run(a_run(version, run_id=name), version)
    assert sorted(ids(claim(broker))) == ["a", "b", "b"]


def test_labels_choose_the_worker(new_broker: Callable[[str], Broker], db: redis.Redis) -> None:
    plain, gpu = new_broker("plain"), new_broker("gpu")
    version = a_version(["free", "train"], specs=[a_task("train", worker_labels=("gpu", "big"), weight=9)])
    run = a_run(version)
    plain.create_run(run, version)
    assert ids(claim(plain)) == ["free"]
    assert claim(gpu, labels=["gpu"]) == []
    waiting = plain.task_statuses(run.key)[version.by_id["train"].index]
    assert (waiting.state, waiting.reason) == (TaskState.PARKED, "waits for a worker with labels gpu, big")
    assert ids(claim(gpu, labels=["gpu", "big", "fast"])) == ["train"]


def test_queues_are_served_in_the_order_of_the_worker(broker: Broker) -> None:
    version = a_version(["slow", "fast"], specs=[a_task("slow", queue="slow", weight=9), a_task("fast", queue="fast")])
    broker.create_run(a_run(version), version)
    assert ids(claim(broker, 1, queues=("fast", "slow"))) == ["fast"]
    assert ids(claim(broker, 1, queues=("fast", "slow"))) == ["slow"]


def test_the_bell_rings_once_for_work_and_again_for_what_is_left(broker: Broker) -> None:
    assert not broker.wait_bell(["default"], 0.05)
    version = a_version(["a", "b", "c"])
    broker.create_run(a_run(version), version)
    assert broker.wait_bell(["default"], 1)
    assert not broker.wait_bell(["default"], 0.05)
    claim(broker, 1)
    assert broker.wait_bell(["default"], 1)
    claim(broker)
    assert not broker.wait_bell(["default"], 0.05)


def test_a_label_nobody_has_does_not_keep_workers_awake(broker: Broker) -> None:
    version = a_version(["a"], each={"worker_labels": ("gpu",)})
    broker.create_run(a_run(version), version)
    assert broker.wait_bell(["default"], 1)
    assert claim(broker) == []
    assert not broker.wait_bell(["default"], 0.05)


def test_a_stock_workers_claim_is_refused_with_rqs_view_set_right(broker: Broker, db: redis.Redis) -> None:
    broker.set_pool("db", 1)
    version = a_version(["a", "b"], each={"pool": "db"})
    run = a_run(version)
    broker.create_run(run, version)
    taken = broker.claim_job(run.key, "a", "e1")
    assert taken.execution_id == "e1"
    assert broker.claim_job(run.key, "b", "e2") == "pool db is full"
    assert broker.claim_job(run.key, "a", "e3") == "it is running"
    assert db.hget(f"rq:job:{taken.job_id}", "status") == b"started"
    assert states(broker, run.key) == {"a": "running", "b": "parked"}
    tell(broker, end(taken))
    assert broker.claim_job(run.key, "b", "e4").task_id == "b"
