"""Who of the workers is heard of. RQ forgets a worker some time after its last heartbeat; what it was then is kept here until it signs off."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

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
    now, lease = broker.now(), broker.settings.worker.lease
    known = {text(name): json.loads(value) for name, value in patiently(broker.connection, broker.connection.hgetall, keys.HEARD).items()}
    found = {machine_of(one.name): one for one in live}
    for machine, said in known.items():
        since = from_micros(said["at"])
        if machine not in found and now - since < _KEEP:
            found[machine] = _gone(broker, said, since)
        elif machine in found and found[machine].name == said["name"] and now - since > lease:
            found[machine] = replace(found[machine], state=UNREACHABLE, unreachable_since=since)
    return sorted(found.values(), key=lambda one: one.name)


def forget(broker: Broker, machine: str) -> None:
    """Keep nothing of a worker: it signed off, or a person says that it is gone."""
    broker.steps.command("HDEL", keys.HEARD, machine)


def _gone(broker: Broker, said: Mapping[str, Any], since: datetime) -> WorkerStatus:
    running: Any = patiently(broker.connection, broker.connection.hlen, keys.HOLDS + said["name"])
    return WorkerStatus(
        name=said["name"], host=said["host"], pid=int(said["pid"]), state=UNREACHABLE, queues=tuple(said["queues"]), labels=tuple(said["labels"]),
        slots=int(said["slots"]), running=int(running), last_heartbeat=None, version=said["version"], unreachable_since=since)
