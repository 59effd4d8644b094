"""W6: a DAG of 10,000 tasks: what it takes to make, run, skip, cancel, show and forget it."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import func, select

from benchmarks import shapes, slowlog, system
from benchmarks.options import Options
from benchmarks.report import Budget, Figure, Report
from benchmarks.throughput import SQL_LAG
from rqflow.actions import cancel
from rqflow.broker import keys
from rqflow.broker.status import TaskStatus
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version
from rqflow.store import tables
from rqflow.store.engine import reading
from rqflow.store.runs import by_key
from tests.e2e.lab import COMMAND

#: Seconds to write the run, bytes of Redis a task, keys left afterwards, seconds to show it (architecture section 13); ms a step (section 5).
MATERIALISE, BYTES, LEFT, SHOW, STALL = Budget(goal=3.0), Budget(goal=2048), Budget(goal=0), Budget(goal=1.0), Budget(goal=50)
TASKS = 10_000
#: Seconds between two looks at Redis' memory, and slow commands that Redis remembers.
EVERY, SLOW = 0.25, 512
#: Seconds within which nothing of a run may be left.
FORGOTTEN = 600
_HISTORY = (tables.task_instance, tables.task_try, tables.event_log, tables.xcom)


@dataclass(kw_only=True, slots=True)
class Values:
    """Figures by (name, unit), each with the values of the repetitions."""

    found: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, unit: str, value: float, note: str = "") -> None:
        """Note one value."""
        self.found.setdefault((name, unit), []).append(value)
        if note:
            self.notes[name] = note

    def figures(self, store: str, budgets: Mapping[str, Budget]) -> Iterator[Figure]:
        """Give what was noted, in the order of its first mention."""
        for (name, unit), values in self.found.items():
            yield Figure(workload="W6", system=store, name=name, unit=unit, values=values, budget=budgets.get(name), note=self.notes.get(name, ""))


_STALLING = ["is made", "runs", "is skipped", "is cancelled before its tasks", "is cancelled, its tasks queued", "is forgotten"]
BUDGETS = {
    "materialise": MATERIALISE, "Redis a task, most while it ran": BYTES, "keys in Redis once forgotten": LEFT,
    "page of the run, while it runs": SHOW, "page of the run, afterwards": SHOW, "SQL complete after the end": SQL_LAG,
    **{f"longest stall of Redis while it {what}": STALL for what in _STALLING},
}


def w6(options: Options, report: Report) -> None:
    """A DAG of 10,000 tasks: made, run, skipped, cancelled, shown, forgotten."""
    width = max(options.count(TASKS) - 2, 1)
    for store in options.stores:
        values = Values()
        for number in range(options.reps):
            with system.running(store, {"RQFLOW__BROKER__RUN_RETENTION": f"{options.retention:g}s"}) as ours:
                report.say(f"{width + 2} tasks on {store}, {number + 1} of {options.reps}: run")
                _run(ours, width, values)
                report.say(f"{width + 2} tasks on {store}, {number + 1} of {options.reps}: skip")
                _skip(ours, width, values)
                report.say(f"{width + 2} tasks on {store}, {number + 1} of {options.reps}: cancel")
                _cancel_pending(ours, width, values)
                _cancel_queued(ours, width, values)
        report.add(values.figures(store, BUDGETS))


def _run(ours: system.System, width: int, values: Values) -> None:
    """Make it, run it to its end, show it, and see it forgotten."""
    tasks = width + 2
    began = time.monotonic()
    version = ours.register(shapes.fan(width))
    values.add("load and register the file", "s", time.monotonic() - began)
    before = memory(ours.connection)
    known = set(ours.connection.scan_iter(count=1000))
    with stalls(ours.connection) as stall:
        began = time.monotonic()
        run = ours.begin(version)
        values.add("materialise", "s", time.monotonic() - began)
    _stalled(values, "is made", stall)
    values.add("Redis a task, when made", "bytes", (memory(ours.connection) - before) / tasks)
    with stalls(ours.connection) as stall, watched_memory(ours) as most:
        started, ended = ours.ended(run)
        values.add("SQL complete after the end", "s", ours.recorded(run) - ended)
    _stalled(values, "runs", stall)
    values.add("time per task", "ms", (ended - started) / tasks * 1e3)
    values.add("Redis a task, most while it ran", "bytes", (max(most) - before) / tasks)
    _join(ours, run, version, values)
    with stalls(ours.connection) as stall:
        values.add("logs archived after the end", "s", max(ours.archived(run, tasks) - ended, 0.0))
        ours.forgotten(run)
    _stalled(values, "is forgotten", stall)
    ours.check(run, tasks)
    values.add("keys in Redis once forgotten", "", *left(ours.connection, known))
    values.add("Redis a task, once forgotten", "bytes", (memory(ours.connection) - before) / tasks, "allocator and buffers")
    _show(ours, run, "afterwards", values)
    _rows(ours, run, tasks, values)


def _join(ours: system.System, run: RunInfo, version: Version, values: Values) -> None:
    """Note how long the step from one to all, and that from all to one, took."""
    statuses: dict[str, TaskStatus] = {one.task_id: one for one in ours.services.broker.task_statuses(run.key)}
    first, last = statuses.pop("first"), statuses.pop("last")
    starts = [one.started_at for one in statuses.values() if one.started_at]
    ends = [one.ended_at for one in statuses.values() if one.ended_at]
    assert first.ended_at
    assert last.started_at
    assert len(starts) == len(ends) == len(version.tasks) - 2
    values.add("from the first task's end to the next start", "ms", (min(starts) - first.ended_at).total_seconds() * 1e3)
    values.add("join: from the end of all to the last task's start", "ms", (last.started_at - max(ends)).total_seconds() * 1e3)


def _skip(ours: system.System, width: int, values: Values) -> None:
    """Let the first task skip itself, and with it all others."""
    version = ours.register(shapes.fan(width, first="exit 99", dag_id="bench_skip"))
    run = ours.begin(version)
    with stalls(ours.connection) as stall:
        _, ended = ours.ended(run)
        skipped = ours.services.broker.task_statuses(run.key)[0].ended_at
        assert skipped
        values.add("skip all, from the first task's end", "s", ended - skipped.timestamp())
        values.add("SQL complete after all were skipped", "s", ours.recorded(run) - ended)
    _stalled(values, "is skipped", stall)


def _cancel_pending(ours: system.System, width: int, values: Values) -> None:
    """Cancel it while the first task runs and all others are pending."""
    version = ours.register(shapes.fan(width, first="exec sleep 600", dag_id="bench_cancel"))
    run = ours.begin(version)
    system.patiently(lambda: ours.services.broker.task_statuses(run.key, [0])[0].state.value == "running", what="the first task", every=0.01)
    _cancel(ours, run, "is cancelled before its tasks", values)


def _cancel_queued(ours: system.System, width: int, values: Values) -> None:
    """Cancel it while its tasks are queued and some run; show it before."""
    version = ours.register(shapes.fan(width, each="exec sleep 600", dag_id="bench_cancel_queued"))
    run = ours.begin(version)
    broker = ours.services.broker
    system.patiently(lambda: broker.task_statuses(run.key, [1])[0].state.value == "running", what="the second task", every=0.01)
    _show(ours, run, "while it runs", values)
    _cancel(ours, run, "is cancelled, its tasks queued", values)


def _cancel(ours: system.System, run: RunInfo, how: str, values: Values) -> None:
    with reading(ours.services.engine) as connection:
        record = by_key(connection, run.key)
    assert record
    with stalls(ours.connection) as stall:
        began = time.monotonic()
        cancel.cancel_run(ours.services.broker, ours.services.engine, record, by="bench")
        ours.ended(run)
        values.add(f"until it {how}", "s", time.monotonic() - began)
        ours.recorded(run)
    _stalled(values, how, stall)


def _show(ours: system.System, run: RunInfo, when: str, values: Values) -> None:
    """Note how long the page's question takes, and the command."""
    began = time.monotonic()
    ours.record(run)
    values.add(f"page of the run, {when}", "s", time.monotonic() - began, "what the page asks, without drawing it")
    began = time.monotonic()
    subprocess.run([*COMMAND, "run", "show", run.run_id, "-o", "json"], env=ours.lab.environ, cwd=ours.lab.folder, check=True, capture_output=True)
    values.add(f"command `run show`, {when}", "s", time.monotonic() - began)


def _rows(ours: system.System, run: RunInfo, tasks: int, values: Values) -> None:
    """Note what the run left in the database."""
    with reading(ours.services.engine) as connection:
        for table in _HISTORY:
            rows = connection.execute(select(func.count()).select_from(table).where(table.c.run_key == run.key)).scalar_one()
            values.add(f"rows of {table.name} a task", "rows", rows / tasks)
    path = ours.services.engine.url.database
    if ours.store == system.SQLITE and path:
        size = sum(one.stat().st_size for one in Path(path).parent.glob(f"{Path(path).name}*"))
        values.add("SQLite file a task", "bytes", size / tasks, "all of it, after the first run")


# ---------------------------------------------------------------- Redis


def memory(connection: redis.Redis) -> int:
    """Return the bytes that Redis has for its data, without what it has for its clients and its file."""
    info: dict[str, Any] = connection.info("memory")
    return int(info["used_memory"] - info.get("mem_clients_normal", 0) - info.get("mem_aof_buffer", 0))


def left(connection: redis.Redis, known: Container[bytes]) -> tuple[int, str]:
    """Return how many keys that are not among `known` will still be there in 10 minutes; and a remark about them and the others."""
    # The last replies are one a caller, whatever it asked.
    new = [key for key in connection.scan_iter(count=1000) if key not in known and not key.startswith(keys.REPLY.encode())]
    with connection.pipeline(transaction=False) as pipe:
        for key in new:
            pipe.ttl(key)
        lives = pipe.execute()
    stay = [key.decode(errors="replace") for key, seconds in zip(new, lives, strict=True) if seconds == -1 or seconds > FORGOTTEN]
    kinds = ", ".join(sorted({":".join(key.split(":")[:2]) for key in stay}))
    return len(stay), f"{kinds} stay; " * bool(stay) + f"{len(new) - len(stay)} others expire within 10 min"


@contextmanager
def watched_memory(ours: system.System) -> Iterator[list[int]]:
    """Give a list to which a thread adds Redis' memory a few times a second, until the end of the block."""
    seen = [memory(ours.connection)]
    over = threading.Event()

    def watch() -> None:
        with redis.Redis.from_url(ours.services.settings.redis.url) as connection:
            while not over.wait(EVERY):
                seen.append(memory(connection))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


@dataclass(kw_only=True, slots=True)
class Stall:
    """The longest time in which Redis answered nobody: of one command, and of anything else that it does."""

    milliseconds: float = 0.0
    what: str = "no command of 1 ms"


@contextmanager
def stalls(connection: redis.Redis) -> Iterator[Stall]:
    """Give the longest stall of Redis during the block, by its own account; filled in at the end."""
    slowlog.note(connection, slower_than=1_000, most=SLOW)
    connection.config_set("latency-monitor-threshold", 1)
    connection.execute_command("LATENCY RESET")  # type: ignore[no-untyped-call]
    found = Stall()
    yield found
    for name, micros in slowlog.noted(connection):
        if micros / 1e3 > found.milliseconds:
            found.milliseconds, found.what = micros / 1e3, name
    for event, _, _, most in connection.execute_command("LATENCY LATEST"):  # type: ignore[no-untyped-call]
        name = event.decode()
        if name not in {"command", "fast-command"} and most > found.milliseconds:
            found.milliseconds, found.what = float(most), name


def _stalled(values: Values, how: str, stall: Stall) -> None:
    values.add(f"longest stall of Redis while it {how}", "ms", stall.milliseconds, stall.what)
