"""Who of the workers is heard of. RQ forgets a worker some time after its last heartbeat; what it was then is kept here until it signs off."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import redis

from rqflow.broker import keys
from rqflow.broker.broker import Broker
from rqflow.broker.faults import patiently
from rqflow.broker.names import machine_of
from rqflow.broker.replies import text
from rqflow.broker.status import WorkerStatus
from rqflow.clock import from_micros

#: One that was not heard of for so long is not told of any more.
_KEEP = timedelta(days=30)
UNREACHABLE = "unreachable"


def heard(at: int, *, pid: int, name: str, host: str, queues: Iterable[str], labels: Iterable[str], slots: int, version: str) -> str:
    """Return what is kept of a worker with each heartbeat, `at` being microseconds by Redis' clock."""
    return json.dumps({"at": at, "name": name, "host": host, "pid": pid, "queues": list(queues), "labels": list(labels), "slots": slots,
                       "version": version})


def all_workers(broker: Broker, live: Iterable[WorkerStatus]) -> list[WorkerStatus]:
    """Return the workers that live, and those that are not heard of and did not sign off, by name. Raises redis-py's errors."""
    now, known = patiently(broker.connection, _known, broker.connection)
    lease = broker.settings.worker.lease
    found = {machine_of(one.name): one for one in live}
    gone = {}
    for machine, said in known.items():
        since = from_micros(said["at"])
        if machine not in found and now - since < _KEEP:
            gone[machine] = said
        elif machine in found and found[machine].name == said["name"] and now - since > lease:
            found[machine] = replace(found[machine], state=UNREACHABLE, unreachable_since=since)
    held = patiently(broker.connection, _held, broker.connection, [said["name"] for said in gone.values()])
    found |= {machine: _gone(said, running) for (machine, said), running in zip(gone.items(), held, strict=True)}
    return sorted(found.values(), key=lambda one: one.name)


def _known(connection: redis.Redis) -> tuple[datetime, dict[str, Any]]:
    """Return Redis' time, and {machine: what is kept of its worker}."""
    with connection.pipeline(transaction=False) as pipe:
        pipe.time()
        pipe.hgetall(keys.HEARD)
        (seconds, micros), kept = pipe.execute()
    return from_micros(seconds * 1_000_000 + micros), {text(machine): json.loads(value) for machine, value in kept.items()}


def _held(connection: redis.Redis, workers: Iterable[str]) -> list[int]:
    """Return how many tasks each of these workers holds."""
    with connection.pipeline(transaction=False) as pipe:
        for name in workers:
            pipe.hlen(keys.HOLDS + name)
        return [int(number) for number in pipe.execute()]


def forget(broker: Broker, machine: str) -> None:
    """Keep nothing of a worker: it signed off, or a person says that it is gone."""
    broker.steps.command("HDEL", keys.HEARD, machine)


def _gone(said: Mapping[str, Any], running: int) -> WorkerStatus:
    return WorkerStatus(
        name=said["name"], host=said["host"], pid=int(said["pid"]), state=UNREACHABLE, queues=tuple(said["queues"]), labels=tuple(said["labels"]),
        slots=int(said["slots"]), running=running, last_heartbeat=None, version=said["version"], unreachable_since=from_micros(said["at"]))
