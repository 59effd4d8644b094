"""Every place in rqflow that speaks to Redis, found in the code; and a row for each: how to call it, and what must hold afterwards.

A place in the room `broker` is a public function or method that takes a connection or speaks over one; elsewhere it is any function
that itself calls redis-py, or what RQ and rq-scheduler do with a connection. Whoever calls those of `broker` needs no row.
"""

from __future__ import annotations

import ast
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import redis

from rqflow.broker import creation, keys, lock
from rqflow.broker.broker import Broker
from rqflow.broker.connection import check_server, connect, open_connection
from rqflow.broker.events import EventStream
from rqflow.broker.lock import Lock
from rqflow.broker.logstream import LogChunk, LogStream
from rqflow.broker.requests import RequestDesk, ask
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version
from rqflow.deploy.live import Live, refusal
from rqflow.scheduler.scheduler import Scheduler
from rqflow.settings import Settings
from rqflow.states import RunState, TaskState
from rqflow.worker import stock
from rqflow.worker.worker import Worker
from tests.integration.broker import playing
from tests.proxy import Proxy
from tests.unit.builders import a_run, a_task, a_version

ROOT = Path(__file__).parents[3] / "rqflow"

# ---------------------------------------------------------------- the places, by ast

#: Modules of `broker` that its public ones are made of.
INNER = {f"broker/{name}.py" for name in ("creation", "faults", "keys", "messages", "rows", "status", "steps")}
#: Names of what speaks to Redis, and what of it does not.
SPEAKERS = {"connection", "_connection", "pipe", "pipeline", "pubsub"}
SILENT_PARTS = {"close", "connection_pool", "get_connection_kwargs", "pipeline", "retry"}
#: What RQ and rq-scheduler do with our connection.
INHERITED = {"register_birth", "register_death", "_set_ip_address", "set_state"}
#: Places that need no row, and why.
EXEMPT = {
    "broker/broker.py:Broker.hint_channel": "names a channel",
    "broker/connection.py:block": "reads an option of the connection",
    "broker/connection.py:longest_wait": "reads an option of the connection",
    "broker/lock.py:leader": "names a lock",
    "deploy/embedded.py:is_ready": "looks whether the private Redis is there, on its own socket",
    "deploy/embedded.py:process_id": "the same",
    "scheduler/hub.py:Hub.run": "a loop: tests/e2e/test_away.py",
    "scheduler/scheduler.py:Scheduler.run": "a loop: tests/e2e/test_away.py",
    "worker/listening.py:Subscription._hear": "a loop: tests/integration/worker/test_links.py",
    "worker/listening.py:Subscription._listen": "a loop: tests/integration/worker/test_links.py",
    "worker/stock.py:run": "waits as long as it takes: tests/integration/worker/test_links.py",
    "worker/stock.py:Horse.work": "the same",
    "worker/stock.py:Horse._tell": "the same",
}


def found_in_the_code() -> set[str]:
    """Return `module:Class.method` of each place, exempt ones too."""
    return {f"{module}:{name}" for module, tree in _modules() for name, function in _functions(tree) if _is_place(module, name, function)}


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for path in ROOT.rglob("*.py"):
        module = str(path.relative_to(ROOT))
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        if module not in INNER and (module.startswith("broker/") or {"redis", "rq", "redis.exceptions"} & imported):
            yield module, tree


def _functions(tree: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            yield prefix + node.name, node


def _is_place(module: str, name: str, function: ast.FunctionDef) -> bool:
    if not module.startswith("broker/"):
        return _speaks(function)
    holder, _, own = name.rpartition(".")
    if own.startswith("_") or holder.startswith("_"):
        return False
    takes = any(argument.arg == "connection" for argument in function.args.args)
    return takes or _speaks(function) or holder in {"Broker", "EventStream", "LogStream", "RequestDesk", "Lock"}


def _speaks(function: ast.FunctionDef) -> bool:
    """Tell whether a function itself calls redis-py."""
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute):
            of = node.value.attr if isinstance(node.value, ast.Attribute) else node.value.id if isinstance(node.value, ast.Name) else ""
            command = node.attr not in SILENT_PARTS and (hasattr(redis.Redis, node.attr) or hasattr(redis.client.PubSub, node.attr))
            if (of in SPEAKERS and command) or node.attr in INHERITED:
                return True
        if isinstance(node, ast.Name) and node.id in {"lastingly", "patiently"}:
            return True
    return False


# ---------------------------------------------------------------- what the rows act on


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


BROKER = "broker/broker.py:Broker."


# -- Broker: runs --


@row(f"{BROKER}create_run", STEP)
def _(w: World) -> Case:
    return Case(call=lambda: w.far.create_run(w.run, w.version), once=bool, check=true(
        lambda: w.states() == {"a": "queued", "b": "pending"}, lambda: len(w.events(kind="run", state="running")) == 1,
        lambda: w.db.llen("rq:queue:default") == 1, lambda: not w.db.exists(keys.PREPARING)))


@row(f"{BROKER}finish_preparing", LOOKS)
def _(w: World) -> Case:
    creation.prepare(w.near.steps, w.run, w.version)
    return Case(call=lambda: w.far.finish_preparing(older_than=-2), once=lambda done: bool(done == 1), check=true(
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


@row(f"{BROKER}run_exists", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: w.far.run_exists(w.run.key), check=same(True))


@row(f"{BROKER}live_runs", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=w.far.live_runs, check=same([w.run.key]))


def ended(w: World) -> None:
    """Let the run end, and its events be recorded."""
    w.start()
    playing.play(w.near)
    stream = EventStream(w.db)
    stream.acknowledge([entry_id for entry_id, _ in stream.read("r", block_ms=0)])


@row(f"{BROKER}expired_runs", READ)
def _(w: World) -> Case:
    ended(w)
    w.far.settings = replace(w.settings, broker=replace(w.settings.broker, run_retention=timedelta()))
    return Case(call=w.far.expired_runs, check=same([w.run.key]))


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
    return Case(call=lambda: w.far.beat({claim.execution_id: (w.run.key, 0)}), check=true(
        lambda: w.states()["a"] == "running", lambda: w.db.zscore(keys.LEASES, f"{w.run.key}:0:{claim.execution_id}") > before))


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


@row(f"{BROKER}pools", READ)
def _(w: World) -> Case:
    w.near.set_pool("p", 3)
    return Case(call=lambda: w.far.pools()["p"].slots, check=same(3))


@row(f"{BROKER}move_due", STEP)
def _(w: World) -> Case:
    w.start()
    claim, = playing.claim(w.near)
    playing.tell(w.near, playing.end(claim, TaskState.UP_FOR_RETRY, retry_in=60.0))
    w.db.zadd(keys.RQ_SCHEDULED_JOBS, {claim.job_id: 1})
    return Case(call=w.far.move_due, once=lambda answer: bool(answer[0] == 1), check=true(
        lambda: w.states()["a"] == "queued", lambda: w.try_of("a") == 2, lambda: w.db.llen("rq:queue:default") == 1,
        lambda: len(w.events(kind="ti", task="a", state="queued")) == 2))


@row(f"{BROKER}wait_wakeup", ONCE)
def _(w: World) -> Case:
    return Case(call=lambda: w.far.wait_wakeup(0.05), check=same(False))


# -- Broker: reading --


@row(f"{BROKER}run_info", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: w.far.run_info(w.run.key), check=same(w.run))


@row(f"{BROKER}version", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: w.far.version(w.version.sha), check=same(w.version))


@row(f"{BROKER}run_status", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: getattr(w.far.run_status(w.run.key), "state", None), check=same(RunState.RUNNING))


@row(f"{BROKER}is_finished", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: w.far.is_finished(w.run.key), check=same(False))


@row(f"{BROKER}task_statuses", READ)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: playing.states(w.far, w.run.key), check=same({"a": "queued", "b": "pending"}))


@row(f"{BROKER}xcoms", READ)
def _(w: World) -> Case:
    w.start()
    w.near.push_xcom(w.run.key, "a", "k", "1")
    return Case(call=lambda: w.far.xcoms(w.run.key), check=same({"a": {"k": "1"}}))


@row(f"{BROKER}push_xcom", LOOKS)
def _(w: World) -> Case:
    w.start()
    return Case(call=lambda: w.far.push_xcom(w.run.key, "a", "k", "1"), check=true(lambda: w.near.xcoms(w.run.key) == {"a": {"k": "1"}}))


@row(f"{BROKER}workers", READ)
def _(w: World) -> Case:
    a_worker(w, w.db)._register()
    return Case(call=lambda: [worker.name for worker in w.far.workers()], check=same(["w1"]))


@row(f"{BROKER}now", READ)
def _(w: World) -> Case:
    return Case(call=w.far.now, check=lambda now: abs(now - w.near.now()) < timedelta(minutes=1))


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


@row("broker/events.py:EventStream.recorded_upto", ONCE)
def _(w: World) -> Case:
    far, near = a_stream(w)
    (first, _), *_ = near.read("me", block_ms=0)
    return Case(call=far.recorded_upto, check=same(first))


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


# -- logs --

CHUNK = LogChunk(execution_id="e", path="d/t/1/1.log", offset=0, data=b"hello", last=True)


def pieces(w: World) -> set[LogChunk]:
    return {chunk for _, chunk in LogStream(w.db).read(block_ms=0)}


@row("broker/logstream.py:LogStream.append", ONCE)
def _(w: World) -> Case:
    # It may come twice: the archive writes each piece at its offset.
    return Case(call=lambda: LogStream(w.connection).append([CHUNK]), check=true(lambda: pieces(w) == {CHUNK}))


@row("broker/logstream.py:LogStream.read", ONCE)
def _(w: World) -> Case:
    LogStream(w.db).append([CHUNK])
    return Case(call=lambda: [chunk for _, chunk in LogStream(w.connection).read(block_ms=50)], check=same([CHUNK]))


@row("broker/logstream.py:LogStream.acknowledge", ONCE)
def _(w: World) -> Case:
    near = LogStream(w.db)
    near.append([CHUNK])
    (entry_id, _), = near.read(block_ms=0)
    return Case(call=lambda: LogStream(w.connection).acknowledge({"e": 5}, entry_id, whole=["e"]), check=true(
        lambda: near.acknowledged(["e"]) == {"e": 5}, lambda: pieces(w) == set()))


@row("broker/logstream.py:LogStream.acknowledged", ONCE)
def _(w: World) -> Case:
    LogStream(w.db).acknowledge({"e": 5}, "1-0")
    return Case(call=lambda: LogStream(w.connection).acknowledged(["e", "f"]), check=same({"e": 5}))


@row("broker/logstream.py:LogStream.bases", ONCE)
def _(w: World) -> Case:
    LogStream(w.db).keep_base("e", 7)
    return Case(call=lambda: LogStream(w.connection).bases(["e", "f"]), check=same({"e": 7}))


@row("broker/logstream.py:LogStream.keep_base", ONCE)
def _(w: World) -> Case:
    return Case(call=lambda: LogStream(w.connection).keep_base("e", 7), check=same(7))


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


@row("deploy/live.py:refusal", QUIET)
def _(w: World) -> Case:
    return Case(call=lambda: refusal(cast(Live, SimpleNamespace(connection=w.connection))), check=same(""))


def a_scheduler(w: World) -> Scheduler:
    return Scheduler(w.connection, w.far, lock_ttl=timedelta(minutes=1))


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


def a_worker(w: World, connection: redis.Redis) -> Worker:
    worker = Worker.from_settings(connection, w.settings, queues=["default"], slots=2)
    worker.name, worker.hostname, worker.pid, worker.worker_ttl = "w1", "here", 1, 60
    return worker


@row("worker/worker.py:Worker._register", ONCE)
def _(w: World) -> Case:
    return Case(call=a_worker(w, w.connection)._register, check=true(lambda: [(one.name, one.slots) for one in w.near.workers()] == [("w1", 2)]))


@row("worker/worker.py:Worker._sign_off", QUIET)
def _(w: World) -> Case:
    a_worker(w, w.db)._register()
    return Case(call=a_worker(w, w.connection)._sign_off, check=true(lambda: w.db.ttl(f"{keys.RQ_WORKER}w1") > 0))


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
