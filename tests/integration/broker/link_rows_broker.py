"""The rows of Broker: how to call each method, and what must hold after a fault of the link."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from rqflow.broker import creation, keys, unserved
from rqflow.broker.broker import Broker
from rqflow.broker.mirror import Mirror
from rqflow.broker.rows import job_id
from rqflow.broker.status import TaskCell
from rqflow.states import RunState, TaskState
from tests.integration.broker import playing
from tests.integration.broker.link_world import (
    BROKER,
    LASTING,
    LOOKS,
    ONCE,
    READ,
    READING,
    STEP,
    Case,
    World,
    a_worker,
    ended,
    row,
    same,
    true,
)

# -- Broker: runs --


@row(f"{BROKER}create_run", STEP)
def _(w: World) -> Case:
    return Case(call=lambda: w.far.create_run(w.run, w.version), once=bool, check=true(
        lambda: w.states() == {"a": "queued", "b": "pending"}, lambda: len(w.events(kind="run", state="running")) == 1,
        lambda: w.db.llen("rq:queue:default") == 1, lambda: not w.db.exists(keys.PREPARING)))


@row(f"{BROKER}finish_preparing", LOOKS)
def _(w: World) -> Case:
    creation.prepare(w.near.steps, w.run, w.version)
    return Case(call=lambda: w.far.finish_preparing(w.run.key), check=true(
        lambda: w.states() == {"a": "queued", "b": "pending"}, lambda: len(w.events(kind="run", state="running")) == 1,
        lambda: not w.db.exists(keys.PREPARING)))


@row(f"{BROKER}advance", STEP)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: w.far.advance(w.run.key), check=same(False))


@row(f"{BROKER}advance_all", STEP)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: w.far.advance_all([w.run.key]), check=true(lambda: w.states() == {"a": "queued", "b": "pending"}))


@row(f"{READING}run_exists", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: w.far.run_exists(w.run.key), check=same(True))


@row(f"{READING}live_runs", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=w.far.live_runs, check=same([w.run.key]))


@row(f"{READING}expired_runs", READ)
def _(w: World) -> Case:
    ended(w)
    w.far.settings = replace(w.settings, broker=replace(w.settings.broker, run_retention=timedelta()))
    return Case(call=w.far.expired_runs, check=same([w.run.key]))


@row(f"{READING}unrecorded", READ)
def _(w: World) -> Case:
    w.near.create_run(w.run, w.version)
    status = w.near.run_status(w.run.key)
    assert status
    return Case(call=lambda: {event["run"] for event in w.far.unrecorded(status)}, check=same({w.run.key}))


@row(f"{READING}all_runs", READ)
def _(w: World) -> Case:
    ended(w)
    return Case(call=w.far.all_runs, check=same([w.run.key]))


@row(f"{READING}versions_in_use", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=w.far.versions_in_use, check=same({w.version.sha}))


@row(f"{BROKER}forget_replies", ONCE)
def _(w: World) -> Case:
    w.start()
    return Case(call=w.far.forget_replies, check=true(lambda: not list(w.db.scan_iter(f"{keys.REPLY}*"))))


@row(f"{BROKER}join", ONCE)
def _(w: World) -> Case:
    return Case(call=w.far.join, check=true(lambda: w.db.exists(keys.PROTOCOL) == 1))


@row(f"{BROKER}forget_run", STEP)
def _(w: World) -> Case:
    ended(w)
    return Case(call=lambda: w.far.forget_run(w.run.key), check=true(
        lambda: not list(w.db.scan_iter(f"{keys.RUN}*")), lambda: not list(w.db.scan_iter(f"{keys.RQ_JOB}*"))))


@row(f"{BROKER}cancel_run", STEP)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: w.far.cancel_run(w.run.key, "me"), once=lambda state: bool(state == "cancelled"), check=true(
        lambda: w.states() == {"a": "cancelled", "b": "cancelled"}, lambda: len(w.events(kind="run", state="cancelled")) == 1))


@row(f"{BROKER}cancel_task", LOOKS)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: w.far.cancel_task(w.run.key, "a", "me"), check=true(
        lambda: w.states()["a"] == "cancelled", lambda: len(w.events(kind="ti", task="a", state="cancelled")) == 1))


@row(f"{BROKER}clear", LOOKS)
def _(w: World) -> Case:
    ended(w)
    return Case(call=lambda: w.far.clear(w.run.key, [0], "me"), check=true(
        lambda: w.states()["a"] == "queued", lambda: w.try_of("a") == 2, lambda: w.db.llen("rq:queue:default") == 1))


@row(f"{BROKER}mark", STEP)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: w.far.mark(w.run.key, [0], TaskState.SUCCESS, "me"), check=true(
        lambda: w.states() == {"a": "success", "b": "queued"}, lambda: len(w.events(kind="ti", task="a", state="success")) == 1))


@row(f"{BROKER}recount", STEP)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: w.far.recount(w.run.key), check=same([]))


# -- Broker: workers --


@row(f"{BROKER}turn", ONCE)
def _(w: World) -> Case:
    w.start()
    claim, = playing.claim(w.near)

    def check(turn: Any) -> None:
        assert turn.accepted == ("ok",)
        assert [one.task_id for one in turn.claims] == ["b"]
        assert w.states() == {"a": "success", "b": "running"}
        assert len(w.events(kind="ti", task="a", state="success")) == len(w.events(kind="ti", task="b", state="running")) == 1

    return Case(call=lambda: w.far.turn(queues=["default"], wanted=1, ends=[playing.end(claim)]), check=check)


@row(f"{BROKER}claim_job", LASTING)
def _(w: World) -> Case:
    w.start()

    def check(claim: Any) -> None:
        assert (claim.task_id, claim.execution_id) == ("a", "e")
        assert len(w.events(kind="ti", task="a", state="running")) == 1

    w.far.run_info(w.run.key)
    w.far.version(w.run.version)
    return Case(call=lambda: w.far.claim_job(w.run.key, "a", "e"), check=check)


@row(f"{BROKER}beat", ONCE)
def _(w: World) -> Case:
    w.start()
    claim, = playing.claim(w.near)
    before = w.db.zscore(keys.LEASES, f"{w.run.key}:0:{claim.execution_id}")
    return Case(call=lambda: w.far.beat({claim.execution_id: (w.run.key, 0, 1)}), check=true(
        lambda: w.states()["a"] == "running", lambda: w.db.zscore(keys.LEASES, f"{w.run.key}:0:{claim.execution_id}") > before))


@row(f"{BROKER}announce_held", STEP)
def _(w: World) -> Case:
    w.start()
    claim, = playing.claim(w.near)
    w.far.machine = "here.w1"
    return Case(call=lambda: w.far.announce_held(["default"], {claim.execution_id: (w.run.key, 0, 1)}).is_heard, check=true(
        lambda: w.states()["a"] == "running", lambda: w.far.epoch == 1, lambda: w.db.smembers(keys.ANNOUNCED) == {b"here.w1"},
        lambda: w.db.hkeys(keys.MACHINES) == [b"here.w1"]), once=bool)


@row(f"{BROKER}believe", READ)
def _(w: World) -> Case:
    w.far.epoch = 1
    return Case(call=lambda: w.far.believe(), check=same(None))


@row(f"{BROKER}leave", ONCE)
def _(w: World) -> Case:
    w.far.machine = "here.w1"
    return Case(call=lambda: w.far.leave(["default"]), check=true(lambda: json.loads(w.db.hget(keys.MACHINES, "here.w1") or "")["left"]))


@row(f"{BROKER}take_over", STEP)
def _(w: World) -> Case:
    w.start()
    former = Broker(w.db, w.settings, caller="w0")
    playing.claim(former)
    return Case(call=lambda: w.far.take_over("w0", [], is_lost=False), once=lambda answer: bool(answer == (0, 1)), check=true(
        lambda: w.states()["a"] == "queued", lambda: w.try_of("a") == 1, lambda: w.db.llen("rq:queue:default") == 1,
        lambda: not w.db.exists(f"{keys.HOLDS}w0")))


@row(f"{BROKER}wait_bell", ONCE)
def _(w: World) -> Case:
    # A bell that gets lost is no harm: who waited for it looks for work after every broken link.
    return Case(call=lambda: w.far.wait_bell(["default"], 0.05), check=same(False))


@row(f"{BROKER}ring_bell", ONCE)
def _(w: World) -> Case:
    return Case(call=lambda: w.far.ring_bell("default"), check=true(lambda: w.db.llen(f"{keys.BELL}default") == 1))


@row(f"{BROKER}announce", ONCE)
def _(w: World) -> Case:
    return Case(call=lambda: w.far.announce("w1", slots=3, labels=["x"]), check=true(lambda: w.db.hget(f"{keys.RQ_WORKER}w1", "slots") == b"3"))


# -- Broker: gates, delays --


@row(f"{BROKER}set_pool", STEP)
def _(w: World) -> Case:
    return Case(call=lambda: w.far.set_pool("p", 3), check=true(lambda: w.near.pools()["p"].slots == 3))


@row(f"{READING}pools", READ)
def _(w: World) -> Case:
    w.near.set_pool("p", 3)
    return Case(call=lambda: w.far.pools()["p"].slots, check=same(3))


@row(f"{BROKER}move_due", STEP)
def _(w: World) -> Case:
    w.start()
    claim, = playing.claim(w.near)
    playing.tell(w.near, playing.end(claim, TaskState.UP_FOR_RETRY, retry_in=60.0))
    w.db.zadd(keys.RQ_SCHEDULED_JOBS, {claim.job_id: 1})
    return Case(call=w.far.move_due, once=lambda answer: bool(answer.moved == 1), check=true(
        lambda: w.states()["a"] == "queued", lambda: w.try_of("a") == 2, lambda: w.db.llen("rq:queue:default") == 1,
        lambda: len(w.events(kind="ti", task="a", state="queued")) == 2))


@row(f"{BROKER}wait_wakeup", ONCE)
def _(w: World) -> Case:
    return Case(call=lambda: w.far.wait_wakeup(0.05), check=same(False))


# -- Broker: reading --


@row(f"{READING}run_info", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: w.far.run_info(w.run.key), check=same(w.run))


@row(f"{READING}version", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: w.far.version(w.version.sha), check=same(w.version))


@row(f"{READING}version_to_run", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: w.far.version_to_run(w.version.sha), check=same(w.version))


@row(f"{READING}stored_version", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: w.far.stored_version(w.version.sha).data, check=same(w.version.json.encode()))


@row(f"{READING}place_of_job", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: w.far.place_of_job(w.run.key, job_id(w.run.dag_id, w.run.run_id, "b")), check=same(1))


@row(f"{READING}run_status", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: getattr(w.far.run_status(w.run.key), "state", None), check=same(RunState.RUNNING))


@row(f"{READING}run_statuses", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: {key: one.state for key, one in w.far.run_statuses([w.run.key, "none"]).items()}, check=same({w.run.key: RunState.RUNNING}))


@row(f"{READING}task_cells", READ)
def _(w: World) -> Case:
    w.start()
    cells = {0: TaskCell("queued", 1, ""), 1: TaskCell("pending", 1, "")}
    return Case(call=lambda: w.far.task_cells([w.run.key, "none"]), check=same({w.run.key: cells, "none": {}}))


@row(f"{READING}recorded_upto", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: w.far.recorded_upto(), check=same("0-1"))


@row(f"{READING}is_finished", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: w.far.is_finished(w.run.key), check=same(False))


@row(f"{READING}task_statuses", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: playing.states(w.far, w.run.key), check=same({"a": "queued", "b": "pending"}))


@row(f"{BROKER}mirrored", READ)
def _(w: World) -> Case:
    Mirror(w.db).write(lambda: ("1", {"VAR": {"x": {"value": "sealed"}}}))
    return Case(call=lambda: w.far.mirrored(), check=same(w.near.mirrored()))


@row(f"{BROKER}xcoms", READ)
def _(w: World) -> Case:
    w.start()
    w.near.push_xcom(w.run.key, "a", "k", "1")
    return Case(call=lambda: w.far.xcoms(w.run.key), check=same({"a": {"k": "1"}}))


@row(f"{BROKER}push_xcom", LOOKS)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: w.far.push_xcom(w.run.key, "a", "k", "1"), check=true(lambda: w.near.xcoms(w.run.key) == {"a": {"k": "1"}}))


@row(f"{READING}workers", READ)
def _(w: World) -> Case:
    a_worker(w, w.db)._register()
    return Case(call=lambda: [worker.name for worker in w.far.workers()], check=same(["w1"]))


@row(f"{BROKER}set_ticks", STEP)
def _(w: World) -> Case:
    at = datetime(2100, 1, 1, tzinfo=UTC)
    name = job_id("d", "", "")
    return Case(call=lambda: w.far.set_ticks({"d": at}), check=true(
        lambda: w.db.zscore(keys.RQ_SCHEDULED_JOBS, name) == at.timestamp(), lambda: w.db.hget(keys.DUE, name) == b"tick:d"))


@row(f"{BROKER}run_now", STEP)
def _(w: World) -> Case:
    w.start()
    claim, = playing.claim(w.near)
    playing.tell(w.near, playing.end(claim, TaskState.UP_FOR_RETRY, retry_in=60.0))
    return Case(call=lambda: w.far.run_now(w.run.key, 0), check=true(
        lambda: w.states()["a"] == "queued", lambda: w.try_of("a") == 2, lambda: not w.db.hlen(keys.DUE)))


@row(f"{BROKER}align", STEP)
def _(w: World) -> Case:
    w.start()
    claim, = playing.claim(w.near)
    playing.tell(w.near, playing.end(claim, TaskState.UP_FOR_RETRY, retry_in=60.0))
    at = datetime(2100, 1, 1, tzinfo=UTC)
    return Case(call=lambda: w.far.align(w.run.key, {0: (1, at)}), check=true(
        lambda: w.db.zscore(keys.RQ_SCHEDULED_JOBS, claim.job_id) == at.timestamp(), lambda: w.states()["a"] == "up_for_retry"))


@row(f"{READING}awaited", READ)
def _(w: World) -> Case:
    w.db.hset(f"{keys.RQ_WORKER}w1", "awaits", '{"e1": "the Variable x"}')
    return Case(call=lambda: w.far.awaited("w1", "e1"), check=same("the Variable x"))


@row(f"{READING}is_suspended", READ)
def _(w: World) -> Case:
    w.db.set(keys.RQ_SUSPENDED, "1")
    return Case(call=w.far.is_suspended, check=same(True))


@row(f"{READING}ready_before", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: w.far.ready_before(w.run.key, 0, "default"), check=same(0))


@row(f"{READING}unserved", READ)
def _(w: World) -> Case:
    w.start()
    (queue,) = unserved.look(w.db)
    return Case(call=w.far.unserved, check=same([queue]))


@row("broker/unserved.py:look", ONCE)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: [(one.queue, one.waiting, one.told) for one in unserved.look(w.connection)], check=same([("default", 1, False)]))


@row("broker/unserved.py:standing", ONCE)
def _(w: World) -> Case:
    w.start()
    found = unserved.look(w.db)
    return Case(call=lambda: unserved.standing(w.connection), check=same(found))


@row("broker/unserved.py:note_told", ONCE)
def _(w: World) -> Case:
    w.start()
    unserved.look(w.db)
    return Case(call=lambda: unserved.note_told(w.connection, "default"), check=true(lambda: [one.told for one in unserved.standing(w.db)] == [True]))


@row(f"{READING}now", READ)
def _(w: World) -> Case:
    return Case(call=w.far.now, check=lambda now: abs(now - w.near.now()) < timedelta(minutes=1))
