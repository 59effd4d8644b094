"""The rows of all other places that speak to Redis: how to call each, and what must hold after a fault of the link."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import redis

from rqflow.broker import control, deeds, deleting, keys, lock, overview, protocol, standing, wiping
from rqflow.broker.connection import check_server, connect
from rqflow.broker.epochs import Epochs, MachineSeen
from rqflow.broker.events import EventStream
from rqflow.broker.lock import Lock
from rqflow.broker.logstream import LogChunk, LogStream
from rqflow.broker.mirror import Mirror, Mirrored
from rqflow.broker.names import machine_of
from rqflow.broker.requests import RequestDesk, ask
from rqflow.broker.restoring import Remembered, restore
from rqflow.broker.sources import forget_libraries
from rqflow.broker.watch import Held, Watch
from rqflow.clock import from_micros, to_micros
from rqflow.deploy.live import open_live, peek
from rqflow.settings import Settings
from rqflow.states import TaskState
from rqflow.worker import stock
from tests.integration.broker import playing
from tests.integration.broker.link_world import (
    LOOKS,
    ONCE,
    QUIET,
    READ,
    STEP,
    Case,
    World,
    a_scheduler,
    a_worker,
    row,
    same,
    true,
)

# -- deleting --


@row("broker/deleting.py:bury", STEP)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: deleting.bury(w.far, w.run.key, "me"), check=true(
        lambda: w.states() == {"a": "cancelled", "b": "cancelled"}, lambda: w.db.exists(keys.BURIED + w.run.key) == 1))


@row("broker/deleting.py:remove", STEP)
def _(w: World) -> Case:
    w.start()
    playing.claim(w.near)
    deleting.bury(w.near, w.run.key, "me")
    return Case(call=lambda: deleting.remove(w.far, w.run.key), check=true(
        lambda: not list(w.db.scan_iter(f"{keys.RUN}*")), lambda: not list(w.db.scan_iter(f"{keys.RQ_JOB}*")), lambda: not w.db.exists(keys.USED)))


@row("broker/deleting.py:unbury", STEP)
def _(w: World) -> Case:
    w.db.set(keys.BURIED + w.run.key, "me")
    return Case(call=lambda: deleting.unbury(w.far, w.run.key), check=true(lambda: not w.db.exists(keys.BURIED + w.run.key)))


@row("broker/wiping.py:wipe", LOOKS)
def _(w: World) -> Case:
    w.start()
    w.db.set("another", "1")
    return Case(call=lambda: wiping.wipe(w.far, ["d"], "me"), check=true(
        lambda: [key for key in w.db.scan_iter() if not key.startswith(b"rq:queue")] == [b"another"]))


# -- control --


@row("broker/control.py:pause_queue", LOOKS)
def _(w: World) -> Case:
    return Case(call=lambda: control.pause_queue(w.far, "default", "me"), check=true(lambda: control.paused_queues(w.near)["default"].by == "me"))


@row("broker/control.py:resume_queue", LOOKS)
def _(w: World) -> Case:
    control.pause_queue(w.near, "default", "me")
    return Case(call=lambda: control.resume_queue(w.far, "default"), check=true(lambda: not control.paused_queues(w.near)))


@row("broker/control.py:pause_worker", LOOKS)
def _(w: World) -> Case:
    return Case(call=lambda: control.pause_worker(w.far, "host.dir.1", "me"), check=true(lambda: control.is_paused(w.near, "host.dir.2") is not None))


@row("broker/control.py:resume_worker", STEP)
def _(w: World) -> Case:
    control.pause_worker(w.near, "host.dir.1", "me")
    return Case(call=lambda: control.resume_worker(w.far, "host.dir.1"), check=true(lambda: control.is_paused(w.near, "host.dir.1") is None))


@row("broker/control.py:tell", STEP)
def _(w: World) -> Case:
    return Case(call=lambda: control.tell(w.far, "host.dir.1", command="shutdown"), check=same(False))


@row("broker/deeds.py:note", LOOKS)
def _(w: World) -> Case:
    def told() -> set[str]:
        return {event["id"] for _, events in EventStream(w.db).read("r", block_ms=1) for event in events if event["kind"] == deeds.KIND}

    return Case(call=lambda: deeds.note(w.far, "queue_paused", by="me", queue="default"), check=true(lambda: len(told()) == 1))


@row("broker/control.py:paused_queues", READ)
def _(w: World) -> Case:
    control.pause_queue(w.near, "default", "me")
    return Case(call=lambda: control.paused_queues(w.far), check=lambda halts: halts["default"].by == "me")


@row("broker/control.py:paused_workers", READ)
def _(w: World) -> Case:
    control.pause_worker(w.near, "host.dir.1", "me")
    return Case(call=lambda: control.paused_workers(w.far), check=lambda halts: [halt.by for halt in halts.values()] == ["me"])


@row("broker/control.py:queues", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: [(one.name, one.waiting) for one in control.queues(w.far)], check=same([("default", 1)]))


@row("broker/control.py:waiting", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: control.waiting(w.far, "default"), check=same([(w.run.key, 0)]))


@row("broker/control.py:is_held", READ)
def _(w: World) -> Case:
    w.start()
    claim, *_ = playing.claim(w.near)
    return Case(call=lambda: control.is_held(w.far, machine_of("w1"), w.run.key, 0, claim.execution_id), check=same(True))


@row("broker/standing.py:all_workers", READ)
def _(w: World) -> Case:
    a_worker_heard_of(w)
    return Case(call=lambda: [one.name for one in standing.all_workers(w.far, [])], check=same(["host.id.1"]))


@row("broker/standing.py:forget", STEP)
def _(w: World) -> Case:
    a_worker_heard_of(w)
    return Case(call=lambda: standing.forget(w.far, "host.id"), check=true(lambda: not standing.all_workers(w.near, [])))


def a_worker_heard_of(w: World) -> None:
    said = standing.heard(to_micros(w.near.now()), pid=1, name="host.id.1", host="host", queues=["default"], labels=[], slots=1, version="1")
    w.db.hset(keys.HEARD, "host.id", said)


@row("broker/control.py:held_by", READ)
def _(w: World) -> Case:
    w.start()
    playing.claim(w.near)
    return Case(call=lambda: control.held_by(w.far, ["w1"]), check=same([[(w.run.key, 0)]]))


@row("broker/control.py:running", READ)
def _(w: World) -> Case:
    w.start()
    playing.claim(w.near)
    return Case(call=lambda: control.running(w.far), check=same({w.run.key: [0]}))


# -- connections --


@row("broker/connection.py:check_server", ONCE)
def _(w: World) -> Case:
    return Case(call=lambda: check_server(w.connection), check=same(None))


@row("broker/connection.py:connect", STEP)
def _(w: World) -> Case:
    def call() -> bool:
        with connect(w.proxy.redis_url, w.settings) as connection:
            return bool(connection)

    return Case(call=call, check=same(True))


# -- locks --


def as_configured(w: World) -> Settings:
    """Settings that name the Redis behind the tunnel."""
    return replace(w.settings, redis=replace(w.settings.redis, url=w.proxy.redis_url))


@row("deploy/live.py:open_live", STEP)
def _(w: World) -> Case:
    w.start()

    def call() -> list[str]:
        with open_live(as_configured(w)) as live:
            return live.broker.live_runs()

    return Case(call=call, check=same([w.run.key]))


@row("deploy/live.py:peek", QUIET)
def _(w: World) -> Case:
    def call() -> bool:
        with peek(as_configured(w)) as connection:
            return connection is not None

    return Case(call=call, check=same(True))


def a_lock(w: World) -> Lock:
    return lock.leader(w.connection, ttl=timedelta(minutes=1))


@row("broker/lock.py:Lock.hold", ONCE)
def _(w: World) -> Case:
    ours = a_lock(w)
    return Case(call=ours.hold, check=lambda is_ours: (is_ours, w.db.get(keys.LEADER)) == (True, ours.token.encode()))


@row("broker/lock.py:Lock.release", ONCE)
def _(w: World) -> Case:
    ours = a_lock(w)
    ours._connection = w.db
    ours.hold()
    ours._connection = w.connection
    return Case(call=ours.release, check=true(lambda: not w.db.exists(keys.LEADER)))


@row("broker/lock.py:has_leader", ONCE)
def _(w: World) -> Case:
    return Case(call=lambda: lock.has_leader(w.connection), check=same(False))


# -- events --


def a_stream(w: World) -> tuple[EventStream, EventStream]:
    """The stream as seen through the tunnel and directly, with entries of a run that runs."""
    w.start()
    near = EventStream(w.db)
    near.forget_readers()
    return EventStream(w.connection), near


def all_ours(w: World, near: EventStream) -> Callable[[Any], None]:
    return true(lambda: [entry_id for entry_id, _ in near.pending("me")] == [entry.decode() for entry, _ in w.db.xrange(keys.EVENTS)])


@row("broker/events.py:EventStream.read", ONCE)
def _(w: World) -> Case:
    # What was given and lost on the way is pending: a recorder begins with that after a broken link.
    far, near = a_stream(w)
    return Case(call=lambda: far.read("me", block_ms=50), check=all_ours(w, near))


@row("broker/events.py:EventStream.follow", ONCE)
def _(w: World) -> Case:
    far, near = a_stream(w)
    return Case(call=lambda: far.follow("0-0", block_ms=50), check=same(near.follow("0-0", block_ms=50)))


@row("broker/events.py:EventStream.pending", ONCE)
def _(w: World) -> Case:
    far, near = a_stream(w)
    entries = near.read("me", block_ms=0)
    return Case(call=lambda: far.pending("me"), check=same(entries))


@row("broker/events.py:EventStream.take_over", ONCE)
def _(w: World) -> Case:
    far, near = a_stream(w)
    near.read("other", block_ms=0)
    return Case(call=lambda: far.take_over("me", idle_ms=0), check=all_ours(w, near))


@row("broker/events.py:EventStream.forget_readers", ONCE)
def _(w: World) -> Case:
    far, _ = a_stream(w)
    w.db.xgroup_createconsumer(keys.EVENTS, "recorders", "gone")
    return Case(call=lambda: far.forget_readers(silent_ms=-1), check=true(lambda: w.db.xinfo_consumers(keys.EVENTS, "recorders") == []))


@row("broker/events.py:EventStream.acknowledge", ONCE)
def _(w: World) -> Case:
    far, near = a_stream(w)
    ids = [entry_id for entry_id, _ in near.read("me", block_ms=0)]
    return Case(call=lambda: far.acknowledge(ids), check=true(lambda: near.pending("me") == []))


@row("broker/events.py:EventStream.newest", ONCE)
def _(w: World) -> Case:
    far, near = a_stream(w)
    *_, (last, _) = near.read("me", block_ms=0)
    return Case(call=far.newest, check=same(last))


@row("broker/events.py:EventStream.recorded_upto", ONCE)
def _(w: World) -> Case:
    far, near = a_stream(w)
    (first, _), *_ = near.read("me", block_ms=0)
    return Case(call=far.recorded_upto, check=same(first))


@row("broker/events.py:EventStream.unrecorded", ONCE)
def _(w: World) -> Case:
    far, near = a_stream(w)
    (first, events), *_ = near.read("me", block_ms=0)
    return Case(call=lambda: far.unrecorded(near.newest(), 1), check=same([(first, events)]))


@row("broker/events.py:EventStream.trim", ONCE)
def _(w: World) -> Case:
    far, near = a_stream(w)
    near.acknowledge([entry_id for entry_id, _ in near.read("me", block_ms=0)])
    return Case(call=far.trim, check=true(lambda: w.db.xlen(keys.EVENTS) == 0))


@row("broker/events.py:EventStream.backlog", ONCE)
def _(w: World) -> Case:
    far, near = a_stream(w)
    near.read("me", block_ms=0)
    return Case(call=far.backlog, check=same(w.db.xlen(keys.EVENTS)))


# -- epochs --

HERE = MachineSeen("here.w1", worker="w1", queues=("default",))


@row("broker/sources.py:forget_libraries", ONCE)
def _(w: World) -> Case:
    w.db.function_load("#!lua name=rqflow_old\nredis.register_function('rqflow_old', function() return 1 end)", replace=True)
    return Case(call=lambda: forget_libraries(w.connection), check=true(lambda: not w.db.function_list("rqflow_old")))


ENTRIES = {"VAR": {"x": {"key": "k", "value": "sealed", "is_secret": False}}}


@row("broker/mirror.py:Mirror.write", READ)
def _(w: World) -> Case:
    return Case(call=lambda: Mirror(w.connection).write(lambda: ("1", ENTRIES)), check=true(
        lambda: Mirror(w.db).state() == "1", lambda: (Mirror(w.db).read() or Mirrored()).entries == ENTRIES))


@row("broker/mirror.py:Mirror.read", READ)
def _(w: World) -> Case:
    Mirror(w.db).write(lambda: ("1", ENTRIES))
    return Case(call=lambda: Mirror(w.connection).read(), check=same(Mirror(w.db).read()))


@row("broker/mirror.py:Mirror.state", READ)
def _(w: World) -> Case:
    Mirror(w.db).write(lambda: ("1", ENTRIES))
    return Case(call=lambda: Mirror(w.connection).state(), check=same("1"))


@row("broker/epochs.py:Epochs.look", ONCE)
def _(w: World) -> Case:
    return Case(call=lambda: Epochs(w.connection).look(), check=same(Epochs(w.db).look()))


@row("broker/epochs.py:Epochs.believed", ONCE)
def _(w: World) -> Case:
    return Case(call=lambda: Epochs(w.connection).believed(), check=same(1))


@row("broker/epochs.py:Epochs.begin", ONCE)
def _(w: World) -> Case:
    w.db.sadd(keys.ANNOUNCED, "here.w1")
    return Case(call=lambda: Epochs(w.connection).begin(7, "s"), check=true(
        lambda: (Epochs(w.db).look().number, Epochs(w.db).look().is_open) == (7, False), lambda: not w.db.exists(keys.ANNOUNCED)))


@row("broker/epochs.py:Epochs.open", ONCE)
def _(w: World) -> Case:
    Epochs(w.db).begin(7, "s")
    return Case(call=lambda: Epochs(w.connection).open(["q"]), check=true(
        lambda: Epochs(w.db).look().is_open, lambda: Epochs(w.db).look().closed_queues == {"q"}))


@row("broker/epochs.py:Epochs.open_queue", ONCE)
def _(w: World) -> Case:
    Epochs(w.db).open(["q"])
    return Case(call=lambda: Epochs(w.connection).open_queue("q"), check=true(
        lambda: Epochs(w.db).look().closed_queues == frozenset(), lambda: w.db.llen(f"{keys.BELL}q") == 1))


@row("broker/epochs.py:Epochs.admit", ONCE)
def _(w: World) -> Case:
    return Case(call=lambda: Epochs(w.connection).admit([HERE]), check=true(
        lambda: Epochs(w.db).look().admitted == {"here.w1"}, lambda: w.db.llen(f"{keys.BELL}default") == 1))


@row("broker/epochs.py:Epochs.forget", ONCE)
def _(w: World) -> Case:
    Epochs(w.db).admit([HERE])
    return Case(call=lambda: Epochs(w.connection).forget("here.w1"), check=true(lambda: Epochs(w.db).look().admitted == frozenset()))


@row("broker/epochs.py:Epochs.wait_call", ONCE)
def _(w: World) -> Case:
    return Case(call=lambda: Epochs(w.connection).wait_call(0.05), check=same(False))


@row("broker/restoring.py:restore", STEP)
def _(w: World) -> Case:
    seq = to_micros(w.near.now()) - 1_000_000
    tasks = [Remembered(index=0, state=TaskState.SUCCESS, try_number=1, max_tries=2, seq=seq, ended_at=seq, xcoms={"k": "1"}),
             Remembered(index=1, state=TaskState.PENDING, try_number=1, max_tries=1, seq=seq)]
    return Case(call=lambda: restore(w.far, w.run, w.version, tasks), check=true(
        lambda: w.states() == {"a": "success", "b": "queued"}, lambda: w.db.llen("rq:queue:default") == 1,
        lambda: w.near.xcoms(w.run.key) == {"a": {"k": "1"}}))


# -- recovery --


def silent(w: World) -> Held:
    """A try whose lease is over."""
    w.start()
    claim, = playing.claim(w.near)
    w.db.zadd(keys.LEASES, {f"{w.run.key}:0:{claim.execution_id}": 1})
    return Held(w.run.key, 0, claim.execution_id, 1.0)


@row("broker/watch.py:Watch.look", STEP)
def _(w: World) -> Case:
    Watch(w.near).look(pause=3600.0)
    held = silent(w)
    return Case(call=lambda: Watch(w.far).look(pause=3600.0).expired, check=same((held,)), once=lambda expired: bool(expired == (held,)))


@row("broker/watch.py:Watch.mark_unreachable", STEP)
def _(w: World) -> Case:
    held = silent(w)
    return Case(call=lambda: Watch(w.far).mark_unreachable([held]), once=lambda marked: bool(marked == 1), check=true(
        lambda: w.states()["a"] == "running", lambda: w.db.zcard(keys.UNREACHABLE) == 1))


@row("broker/watch.py:Watch.notify", STEP)
def _(w: World) -> Case:
    held = silent(w)
    Watch(w.near).mark_unreachable([held])
    return Case(call=lambda: len(Watch(w.far).notify([held])), once=lambda noticed: bool(noticed == 1), check=true(lambda: not w.db.exists(keys.NOTICES)))


@row("broker/watch.py:Watch.lose", LOOKS)
def _(w: World) -> Case:
    held = silent(w)
    Watch(w.near).mark_unreachable([held])
    return Case(call=lambda: Watch(w.far).lose(held, reason="gone"), check=true(
        lambda: w.states()["a"] in {"queued", "up_for_retry"}, lambda: w.db.zcard(keys.LEASES) == 0))


@row("broker/watch.py:Watch.expire", STEP)
def _(w: World) -> Case:
    w.start()
    w.db.zadd(keys.DEADLINES, {w.run.key: 1})
    return Case(call=lambda: Watch(w.far).expire(w.run.key), once=lambda state: bool(state == "failed"), check=true(
        lambda: set(w.states().values()) == {"cancelled"}, lambda: w.db.zcard(keys.DEADLINES) == 0))


@row("broker/watch.py:Watch.mend_queue", STEP)
def _(w: World) -> Case:
    w.start()
    w.db.delete("rq:queue:default")
    return Case(call=lambda: Watch(w.far).mend_queue("default", older_than=-1.0), once=lambda pushed: bool(pushed == 1), check=true(
        lambda: w.db.llen("rq:queue:default") == 1))


# -- logs --

CHUNK = LogChunk(execution_id="e", path="d/t/1/1.log", offset=0, data=b"hello", last=True)


def pieces(w: World) -> set[LogChunk]:
    return {chunk._replace(at=0) for _, chunk in LogStream(w.db).read(block_ms=0)}


@row("broker/logstream.py:LogStream.append", ONCE)
def _(w: World) -> Case:
    # It may come twice: the archive writes each piece at its offset.
    return Case(call=lambda: LogStream(w.connection).append([CHUNK]), check=true(lambda: pieces(w) == {CHUNK}))


@row("broker/logstream.py:LogStream.read", ONCE)
def _(w: World) -> Case:
    LogStream(w.db).append([CHUNK])
    return Case(call=lambda: [chunk._replace(at=0) for _, chunk in LogStream(w.connection).read(block_ms=50)], check=same([CHUNK]))


@row("broker/logstream.py:LogStream.acknowledge", ONCE)
def _(w: World) -> Case:
    near = LogStream(w.db)
    near.append([CHUNK])
    (entry_id, _), = near.read(block_ms=0)
    return Case(call=lambda: LogStream(w.connection).acknowledge({"e": 5}, entry_id, settled=["e"]), check=true(
        lambda: near.acknowledged(["e"]) == {"e": 5}, lambda: pieces(w) == set()))


@row("broker/logstream.py:LogStream.acknowledged", ONCE)
def _(w: World) -> Case:
    LogStream(w.db).acknowledge({"e": 5}, "1-0")
    return Case(call=lambda: LogStream(w.connection).acknowledged(["e", "f"]), check=same({"e": 5}))


@row("broker/logstream.py:LogStream.archived", ONCE)
def _(w: World) -> Case:
    LogStream(w.db).acknowledge({"e": 5, "f": 0}, "1-0", whole=["f"])
    return Case(call=lambda: LogStream(w.connection).archived(["e", "f", "g"]), check=same({"e": (5, False), "f": (0, True)}))


@row("broker/logstream.py:LogStream.settle", ONCE)
def _(w: World) -> Case:
    near = LogStream(w.db)
    near.acknowledge({"e": 5}, "1-0")
    before = w.db.ttl(f"{keys.LOGS_ACKED}:e")
    return Case(call=lambda: LogStream(w.connection).settle(["e"]), check=true(lambda: w.db.ttl(f"{keys.LOGS_ACKED}:e") < before))


@row("broker/logstream.py:LogStream.hold", ONCE)
def _(w: World) -> Case:
    return Case(call=lambda: LogStream(w.connection).hold("full").reason, check=true(lambda: getattr(LogStream(w.db).held(), "reason", "") == "full"))


@row("broker/logstream.py:LogStream.held", ONCE)
def _(w: World) -> Case:
    held = LogStream(w.db).hold("full")
    return Case(call=lambda: LogStream(w.connection).held(), check=same(held))


@row("broker/logstream.py:LogStream.release", ONCE)
def _(w: World) -> Case:
    LogStream(w.db).hold("full")
    return Case(call=lambda: LogStream(w.connection).release(), check=true(lambda: LogStream(w.db).held() is None))


# -- releases --


@row("broker/protocol.py:check", ONCE)
def _(w: World) -> Case:
    return Case(call=lambda: protocol.check(w.connection), check=same(None))


@row("broker/protocol.py:join", ONCE)
def _(w: World) -> Case:
    return Case(call=lambda: protocol.join(w.connection), check=true(lambda: w.db.get(keys.PROTOCOL) == str(protocol.PROTOCOL).encode()))


@row("broker/protocol.py:processes", ONCE)
def _(w: World) -> Case:
    a_worker(w, w.db)._register()
    return Case(call=lambda: [process.name for process in protocol.processes(w.connection)], check=same(["w1"]))


# -- requests --


@contextmanager
def clerk(w: World) -> Iterator[None]:
    """Answer requests during the block, over a connection of its own; while Redis takes no writes, later."""
    over = threading.Event()
    path = w.db.get_connection_kwargs()["path"]

    def work() -> None:
        with redis.Redis(unix_socket_path=path) as connection:
            desk = RequestDesk(connection, {"double": lambda payload: {"value": payload["value"] * 2}})
            while not over.is_set():
                try:
                    desk.step(block_ms=20)
                except redis.exceptions.RedisError:
                    over.wait(0.01)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@row("broker/requests.py:ask", STEP)
def _(w: World) -> Case:
    def call() -> Any:
        with clerk(w):
            return ask(w.connection, "double", {"value": 21}, timeout=w.settings.redis.socket_timeout.total_seconds())

    return Case(call=call, check=same({"value": 42}))


@row("broker/requests.py:RequestDesk.step", ONCE)
def _(w: World) -> Case:
    w.db.xadd(keys.REQUESTS, {"id": "x", "kind": "double", "payload": "{}"})
    desk = RequestDesk(w.connection, {"double": lambda _: {"value": 42}})
    return Case(call=lambda: desk.step(block_ms=50), check=true(
        lambda: w.db.xlen(keys.REQUESTS) == 0, lambda: w.db.lrange(f"{keys.ANSWER}x", 0, -1) == [b'{"answer": {"value": 42}}']))


# -- other rooms --


@row("scheduler/scheduler.py:Scheduler.heartbeat", ONCE)
def _(w: World) -> Case:
    scheduler = a_scheduler(w)
    return Case(call=scheduler.heartbeat, check=true(lambda: w.db.hexists(scheduler.key, "birth"), lambda: w.db.ttl(scheduler.key) > 0))


@row("scheduler/scheduler.py:Scheduler.register_death", QUIET)
def _(w: World) -> Case:
    scheduler = a_scheduler(w)
    scheduler.connection = w.db
    scheduler.register_birth()
    scheduler.connection = w.connection
    return Case(call=scheduler.register_death, check=true(lambda: w.db.ttl(scheduler.key) > 0))


@row("scheduler/scheduler.py:Scheduler.count", ONCE)
def _(w: World) -> Case:
    w.db.zadd(keys.RQ_SCHEDULED_JOBS, {"j": 1})
    return Case(call=a_scheduler(w).count, check=same(1))


@row("scheduler/scheduler.py:Scheduler.__contains__", ONCE)
def _(w: World) -> Case:
    w.db.zadd(keys.RQ_SCHEDULED_JOBS, {"j": 1})
    return Case(call=lambda: "j" in a_scheduler(w), check=same(True))


@row("worker/worker.py:Worker._register", ONCE)
def _(w: World) -> Case:
    return Case(call=a_worker(w, w.connection)._register, check=true(lambda: [(one.name, one.slots) for one in w.near.workers()] == [("w1", 2)]))


@row("worker/worker.py:Worker._sign_off", QUIET)
def _(w: World) -> Case:
    a_worker(w, w.db)._register()
    return Case(call=lambda: a_worker(w, w.connection)._sign_off(w.far), check=true(lambda: w.db.ttl(f"{keys.RQ_WORKER}w1") > 0))


@row("worker/worker.py:Worker.heartbeat", ONCE)
def _(w: World) -> Case:
    a_worker(w, w.db)._register()
    w.db.persist(f"{keys.RQ_WORKER}w1")
    return Case(call=a_worker(w, w.connection).heartbeat, check=true(lambda: w.db.ttl(f"{keys.RQ_WORKER}w1") > 0))


@row("worker/worker.py:Worker.record", ONCE)
def _(w: World) -> Case:
    a_worker(w, w.db)._register()
    worker = a_worker(w, w.connection)
    return Case(call=lambda: worker.record(1), check=true(lambda: [one.state for one in w.near.workers()] == ["busy"]))


@row("worker/stock.py:_is_worker_itself", ONCE)
def _(w: World) -> Case:
    return Case(call=lambda: stock._is_worker_itself(w.connection, "w1"), check=same(False))


@row("worker/stock.py:_execution_id", ONCE)
def _(w: World) -> Case:
    w.db.sadd(f"{keys.RQ_WORKER}w1:executions", "j:e")
    return Case(call=lambda: stock._execution_id(w.connection, "w1", "j"), check=same("e"))


# -- overview --


@row("broker/overview.py:pulse", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: overview.pulse(w.far), check=lambda answer: same((False, 1))((answer.has_leader, answer.events)))


@row("broker/overview.py:running_now", READ)
def _(w: World) -> Case:
    w.start()
    playing.claim(w.near)
    return Case(call=lambda: [(one.run_key, one.index, one.worker) for one in overview.running_now(w.far)], check=same([(w.run.key, 0, "w1")]))


@row("broker/overview.py:ended_since", READ)
def _(w: World) -> Case:
    w.start()
    playing.play(w.near)
    return Case(call=lambda: overview.ended_since(w.far, from_micros(0), 5), check=same([w.run.key]))


@row("broker/overview.py:longest_waiting", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: list(overview.longest_waiting(w.far, ["default", "other"])), check=same(["default"]))
