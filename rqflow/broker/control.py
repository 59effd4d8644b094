"""What people stop and let go on: queues that give no work, workers that take none; and commands to workers. All of it is in Redis alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rqflow.broker import keys
from rqflow.broker.broker import Broker
from rqflow.broker.faults import patiently
from rqflow.broker.names import machine_of
from rqflow.broker.replies import text
from rqflow.broker.status import WorkerStatus
from rqflow.clock import from_micros, to_micros
from rqflow.states import TaskState
from rqflow.wire import decode

#: Characters of a ready set's member before the run key: its number and a colon.
_NUMBER = 14


@dataclass(frozen=True, kw_only=True, slots=True)
class Halt:
    """Who stopped a queue or a worker, and when."""

    by: str
    since: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueStatus:
    """A queue: tasks that wait for a worker (those that ask for labels too), that run, and that have failed, of runs that Redis has."""

    name: str
    waiting: int
    running: int
    failed: int
    workers: int
    #: Since when it gives no work because somebody said so; None: it does.
    paused_since: datetime | None = None
    paused_by: str = ""


def pause_queue(broker: Broker, queue: str, by: str) -> None:
    """Let a queue give no work until `resume_queue`; what runs goes on."""
    broker.steps.command("HSET", keys.HALTED, queue, _said(broker, by))


def resume_queue(broker: Broker, queue: str) -> bool:
    """Let a queue give work again; False when it did."""
    bell = keys.BELL + queue
    was_paused, *_ = broker.steps.together(["HDEL", keys.HALTED, queue], ["DEL", bell], ["LPUSH", bell, "1"])
    return bool(was_paused)


def pause_worker(broker: Broker, worker: str, by: str) -> None:
    """Let a worker take no work until `resume_worker`, over its restarts too; what runs there goes on."""
    broker.steps.command("HSET", keys.HALTED_WORKERS, machine_of(worker), _said(broker, by))
    _hint(broker, worker)


def resume_worker(broker: Broker, worker: str) -> bool:
    """Let a worker take work again; False when it did."""
    was_paused = bool(broker.steps.command("HDEL", keys.HALTED_WORKERS, machine_of(worker)))
    _hint(broker, worker)
    return was_paused


def paused_queues(broker: Broker) -> dict[str, Halt]:
    """Return {queue: who paused it}."""
    return _halts(patiently(broker.connection, broker.connection.hgetall, keys.HALTED))


def paused_workers(broker: Broker) -> dict[str, Halt]:
    """Return {what a worker is called over its restarts: who paused it}."""
    return _halts(patiently(broker.connection, broker.connection.hgetall, keys.HALTED_WORKERS))


def is_paused(broker: Broker, worker: str) -> Halt | None:
    """Return who paused a worker; None: nobody has."""
    return paused_workers(broker).get(machine_of(worker))


def tell(broker: Broker, worker: str, **payload: str) -> bool:
    """Send a command to a worker, as RQ's tools do; tell whether it listens."""
    # A Redis that loads its data would publish, though it knows of no worker yet: the question keeps it from that.
    heard, _ = broker.steps.together(["PUBLISH", f"{keys.RQ}pubsub:{worker}", json.dumps(payload)], ["EXISTS", keys.RQ_WORKER + worker])
    return bool(heard)


def queues(broker: Broker, workers: Sequence[WorkerStatus] | None = None) -> list[QueueStatus]:
    """Return the queues that Redis knows, and those that live workers serve, by name; `workers` are those, where they were asked for already."""
    serving = [queue for worker in (broker.workers() if workers is None else workers) for queue in worker.queues]

    def ask() -> list[QueueStatus]:
        with broker.connection.pipeline(transaction=False) as pipe:
            pipe.smembers(keys.RQ_QUEUES)
            pipe.hgetall(keys.HALTED)
            listed, halted = pipe.execute()
            halts, known = _halts(halted), {text(key).removeprefix(keys.RQ_QUEUE) for key in listed}
            names, found = sorted({*known, *serving, *halts}), []
            for name in names:
                for key in (keys.READY, keys.LABELLED, keys.RQ_WIP, keys.RQ_FAILED):
                    pipe.zcard(key + name)
            counts = pipe.execute() if names else []
        for name, ready, labelled, running, failed in zip(names, *(counts[at::4] for at in range(4)), strict=True):
            halt = halts.get(name)
            found.append(QueueStatus(name=name, waiting=ready + labelled, running=running, failed=failed, workers=serving.count(name),
                                     paused_since=halt.since if halt else None, paused_by=halt.by if halt else ""))
        return found

    return patiently(broker.connection, ask)


def waiting(broker: Broker, queue: str) -> list[tuple[str, int]]:
    """Return the tasks (run key, index) that wait for a worker on a queue."""

    def ask() -> list[tuple[str, int]]:
        return [place_of(text(member)) for key in (keys.READY, keys.LABELLED) for member in broker.connection.zrange(key + queue, 0, -1)]

    return patiently(broker.connection, ask)


def place_of(member: str) -> tuple[str, int]:
    """Return the task (run key, index) that a member of a set of ready ones names."""
    run_key, _, index = member[_NUMBER:].rpartition(":")
    return run_key, int(index)


def held_by(broker: Broker, workers: Sequence[str]) -> list[list[tuple[str, int]]]:
    """Return of each of these workers the tasks (run key, index) that it holds, in one round trip."""

    def ask() -> list[list[tuple[str, int]]]:
        with broker.connection.pipeline(transaction=False) as pipe:
            for worker in workers:
                pipe.hvals(keys.HOLDS + worker)
            # Run key, index, number of the turn.
            return [[(run_key, int(index)) for run_key, index, _ in (text(value).rsplit(":", 2) for value in values)] for values in pipe.execute()]

    return patiently(broker.connection, ask) if workers else []


def is_held(broker: Broker, machine: str, run_key: str, index: int, execution_id: str) -> bool:
    """Tell whether a worker, by what it is called over its restarts, runs this try now."""
    found = patiently(broker.connection, broker.connection.hget, keys.task_key(run_key), str(index))
    task = decode(found) if found else {}
    return task.get("s") == TaskState.RUNNING and task.get("e") == execution_id and machine_of(task.get("w", "")) == machine


def running(broker: Broker) -> dict[str, list[int]]:
    """Return {run key: indices} of the tasks that run, those too of workers that are not heard of."""

    def ask() -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        with broker.connection.pipeline(transaction=False) as pipe:
            pipe.zrange(keys.LEASES, 0, -1)
            pipe.zrange(keys.UNREACHABLE, 0, -1)
            held, unreachable = pipe.execute()
        # Run key, index, execution.
        for run_key, index, _ in (text(member).rsplit(":", 2) for member in (*held, *unreachable)):
            found.setdefault(run_key, []).append(int(index))
        return found

    return patiently(broker.connection, ask)


def _said(broker: Broker, by: str) -> str:
    """Return what is kept of a halt that begins now."""
    return json.dumps({"by": by, "since": to_micros(broker.now())})


def _halts(found: Mapping[bytes | str, bytes | str]) -> dict[str, Halt]:
    plain = {text(name): json.loads(text(value)) for name, value in found.items()}
    return {name: Halt(by=value["by"], since=from_micros(value["since"])) for name, value in plain.items()}


def _hint(broker: Broker, worker: str) -> None:
    broker.steps.command("PUBLISH", broker.hint_channel(worker), "look")
