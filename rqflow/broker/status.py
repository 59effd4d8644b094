"""Reading the live state: how runs, task instances, pools and workers stand. Reads only; never decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import redis

from rqflow.broker import keys
from rqflow.broker.replies import text
from rqflow.clock import from_micros
from rqflow.dag.run import RunInfo
from rqflow.dag.version import DEFAULT_POOL, Version
from rqflow.exceptions import RunNotFound, TaskFailed
from rqflow.states import RunState, TaskState
from rqflow.wire import decode

#: Marks that a running task instance may have.
UNREACHABLE, CANCEL_REQUESTED = "unreachable", "cancel requested"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunStatus:
    """How a run in Redis stands. `counts` leaves out states that no task is in."""

    run_key: str
    dag_id: str
    run_id: str
    state: RunState
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    counts: dict[TaskState, int]
    cancel_requested: bool
    #: Id of the last entry of the event stream that concerns the run.
    last_event: str
    #: Order of the event that gave the state, microseconds; 0: there was none yet.
    seq: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskStatus:
    """How a task instance in Redis stands. `reason` says in words why it waits, or why it ended so."""

    index: int
    task_id: str
    state: TaskState
    try_number: int
    max_tries: int
    reason: str
    worker: str
    queue: str
    job_id: str
    execution_id: str
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    due_at: datetime | None
    cancel_requested: bool
    #: Since when its worker is not heard of, and until when it counts as running all the same; None: for as long as it takes.
    unreachable_since: datetime | None = None
    assumed_until: datetime | None = None
    #: The version that it follows, unless that is its run's.
    version: str = ""


class TaskCell(NamedTuple):
    """How a task instance in Redis stands, in as little as a square of a grid shows. A tuple: 25 runs of 1,000 tasks have 25,000 of them."""

    state: str
    try_number: int
    #: On a running one: unreachable, cancel requested, or nothing.
    mark: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolStatus:
    """A pool: its slots, how many are in use, and how many task instances wait for one."""

    #: None: as many as are wanted, which only the default pool has.
    slots: int | None
    used: int
    parked: int


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerStatus:
    """A worker as it registered itself with RQ. `running` is the number of tasks that it holds."""

    name: str
    host: str
    pid: int
    #: idle, busy, paused (takes none, because a person said so), draining (ends when its tasks have), stopping, unreachable.
    state: str
    queues: tuple[str, ...]
    labels: tuple[str, ...]
    slots: int
    running: int
    last_heartbeat: datetime | None
    #: Its release of rqflow; empty: a stock RQ worker.
    version: str = ""
    #: Since when its link to Redis has held, by its own clock.
    linked_since: datetime | None = None
    #: By how many seconds its clock is ahead of Redis' (behind: negative).
    clock_offset: float | None = None
    #: Bytes that are free on the disk of its work_dir.
    disk_free: int | None = None
    #: Tasks of its machine that run or want to, on average of the last minute, and its processors.
    load: float | None = None
    cpus: int | None = None
    #: Bytes of memory of its machine that processes could have, and all.
    memory_free: int | None = None
    memory: int | None = None
    #: Since when nothing was heard of it, by Redis' clock, which is longer than its lease; null: it is heard of.
    unreachable_since: datetime | None = None


def _moment(micros: str | bytes | None) -> datetime | None:
    return from_micros(int(micros)) if micros else None


def _hash(connection: redis.Redis, key: str) -> dict[str, str]:
    return {text(name): text(value) for name, value in connection.hgetall(key).items()}


def run_info(connection: redis.Redis, run_key: str) -> RunInfo:
    """Return what the run stands for; raises RunNotFound, and TaskFailed when what Redis has is no run."""
    info = connection.hget(keys.RUN + run_key, "info")
    if info is None:
        raise RunNotFound(f"Redis has no run {run_key}")
    try:
        return RunInfo.from_json(text(info))
    except (ValueError, RecursionError) as error:
        raise TaskFailed(f"what Redis has under the key of the run {run_key} is no run that this rqflow knows: {error}") from error


def run_status(connection: redis.Redis, run_key: str) -> RunStatus | None:
    """Return how the run stands, or None when Redis has it not. A run being prepared is `queued`."""
    record = _hash(connection, keys.RUN + run_key)
    return _run_status(run_key, record) if record else None


#: What of the hash of a run says how it stands; the rest, what it stands for, may be long.
_OF_RUN = ("dag", "run_id", "state", "created", "started", "ended", "n", "cancel", "last_event", "seq")


def run_statuses(connection: redis.Redis, run_keys: Iterable[str]) -> dict[str, RunStatus]:
    """Return {run key: how the run stands} of those of these runs that Redis has, in one round trip."""
    wanted = list(run_keys)
    with connection.pipeline(transaction=False) as pipe:
        for run_key in wanted:
            pipe.hmget(keys.RUN + run_key, _OF_RUN)
        answers = pipe.execute() if wanted else []
    found = {}
    for run_key, values in zip(wanted, answers, strict=True):
        record = {name: text(value) for name, value in zip(_OF_RUN, values, strict=True) if value is not None}
        if "dag" in record and "run_id" in record:
            found[run_key] = _run_status(run_key, record)
    return found


def _run_status(run_key: str, record: Mapping[str, str]) -> RunStatus:
    counts = {TaskState(state): n for state, n in decode(record.get("n", "{}")).items()}
    return RunStatus(
        run_key=run_key, dag_id=record["dag"], run_id=record["run_id"], state=RunState(record.get("state", "queued")),
        created_at=_moment(record.get("created")), started_at=_moment(record.get("started")), ended_at=_moment(record.get("ended")), counts=counts,
        cancel_requested="cancel" in record, last_event=record.get("last_event", ""), seq=int(record.get("seq", 0)))


def task_statuses(connection: redis.Redis, run_key: str, version: Version, indices: Iterable[int] | None = None) -> list[TaskStatus]:
    """Return how the task instances of a run stand, all of them or those of `indices`, in the order of the version."""
    wanted = range(len(version.tasks)) if indices is None else sorted(indices)
    if not wanted:
        return []
    values = connection.hmget(keys.task_key(run_key), [str(index) for index in wanted])
    return [_task_status(version, index, decode(value)) for index, value in zip(wanted, values, strict=True) if value]


def task_cells(connection: redis.Redis, run_keys: Iterable[str]) -> dict[str, dict[int, TaskCell]]:
    """Return {run key: {index of task: how it stands}} of these runs, in one round trip; a run that Redis does not have has none."""
    wanted = list(run_keys)
    with connection.pipeline(transaction=False) as pipe:
        for run_key in wanted:
            pipe.hgetall(keys.task_key(run_key))
        answers = pipe.execute() if wanted else []
    return {key: {int(index): _task_cell(decode(value)) for index, value in answer.items()} for key, answer in zip(wanted, answers, strict=True)}


def _task_cell(record: dict[str, Any]) -> TaskCell:
    return TaskCell(record["s"], record["t"], mark_of(record))


def mark_of(record: Mapping[str, Any]) -> str:
    """Return the mark of a task instance as it lies in Redis: UNREACHABLE, CANCEL_REQUESTED, or nothing, which all have that do not run."""
    if record["s"] != TaskState.RUNNING.value:
        return ""
    return UNREACHABLE if "u" in record else CANCEL_REQUESTED if "y" in record or "mk" in record else ""


def _task_status(version: Version, index: int, record: dict[str, Any]) -> TaskStatus:
    task = version.tasks[index]
    return TaskStatus(
        index=index, task_id=task.task_id, state=TaskState(record["s"]), try_number=record["t"], max_tries=record["m"], reason=record.get("z", ""),
        worker=record.get("w", ""), queue=task.queue, job_id=record["j"], execution_id=record.get("e", ""), queued_at=_moment(record.get("a")),
        started_at=_moment(record.get("b")), ended_at=_moment(record.get("d")), due_at=_moment(record.get("n")),
        cancel_requested="y" in record or "mk" in record, unreachable_since=_moment(record.get("u")),
        assumed_until=from_micros(int(record["u"]) + int(record["gr"])) if "u" in record and "gr" in record else None,
        version=record.get("vs", ""))


def xcoms(connection: redis.Redis, run_key: str, version: Version, task_ids: Iterable[str] | None = None) -> dict[str, dict[str, str]]:
    """Return {task_id: {key: JSON text}} of a run's XComs, all of them or those of `task_ids`."""
    wanted = None if task_ids is None else set(task_ids)
    found: dict[str, dict[str, str]] = {}
    for name, value in _hash(connection, keys.xcom_key(run_key)).items():
        index, _, key = name.partition(":")
        task_id = version.tasks[int(index)].task_id
        if wanted is None or task_id in wanted:
            found.setdefault(task_id, {})[key] = value
    return found


def pools(connection: redis.Redis) -> dict[str, PoolStatus]:
    """Return the pools by name, the default pool too."""
    slots = {DEFAULT_POOL: None, **{name: int(value) for name, value in _hash(connection, keys.POOLS).items()}}
    used = {name: int(value) for name, value in _hash(connection, keys.USED).items()}
    return {name: PoolStatus(slots=n, used=used.get(f"pool:{name}", 0), parked=connection.zcard(f"{keys.PARKED}pool:{name}"))
            for name, n in sorted(slots.items())}


def ready_before(connection: redis.Redis, run_key: str, index: int, queue: str) -> int:
    """Return how many tasks are ready on a queue before this one; 0 when it is not ready there."""
    record = connection.hget(keys.task_key(run_key), str(index))
    member = decode(record).get("q") if record else None
    rank: Any = connection.zrank(keys.READY + queue, member) if member else None
    return int(rank or 0)


def workers(connection: redis.Redis) -> list[WorkerStatus]:
    """Return the workers that RQ lists and whose heartbeat has not run out, stock ones too, in two round trips."""
    listed, found = sorted(map(text, connection.smembers(keys.RQ_WORKERS))), []
    with connection.pipeline(transaction=False) as pipe:
        for key in listed:
            pipe.hgetall(key)
            pipe.scard(f"{key}:executions")
        answers = pipe.execute() if listed else []
    for key, said, running in zip(listed, answers[::2], answers[1::2], strict=True):
        raw = {text(field): text(value) for field, value in said.items()}
        if not raw or "death" in raw:
            continue
        name = key.removeprefix(keys.RQ_WORKER)
        found.append(WorkerStatus(
            name=name, host=raw.get("hostname", ""), pid=int(raw.get("pid") or 0), state=_state(raw),
            queues=tuple(filter(None, raw.get("queues", "").split(","))), labels=tuple(filter(None, raw.get("labels", "").split(","))),
            slots=int(raw.get("slots") or 1), running=running,
            last_heartbeat=datetime.fromisoformat(raw["last_heartbeat"]) if raw.get("last_heartbeat") else None,
            version=raw.get("rqflow", ""), linked_since=_moment(raw.get("linked_since")),
            clock_offset=float(raw["clock_offset"]) if raw.get("clock_offset") else None,
            disk_free=_count(raw, "disk_free"), load=float(raw["load"]) if raw.get("load") else None, cpus=_count(raw, "cpus"),
            memory_free=_count(raw, "memory_free"), memory=_count(raw, "memory")))
    return found


def _count(raw: Mapping[str, str], name: str) -> int | None:
    return int(raw[name]) if raw.get(name) else None


def _state(raw: dict[str, str]) -> str:
    """Return the state of a worker: of RQ's words only the one that says less than it could is replaced."""
    state = raw.get("leaving") or raw.get("state", "?")
    return "paused" if state == "suspended" else state
