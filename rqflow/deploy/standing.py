"""How Redis says that all stands, as figures: {metric: {labels: value}}. A few questions, none of which grows with the number of tasks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import redis

from rqflow.broker import connection as broker_connection
from rqflow.broker import control, keys, lock, protocol, status, unserved
from rqflow.broker.broker import Broker
from rqflow.broker.events import EventStream
from rqflow.broker.logstream import LogStream
from rqflow.broker.replies import text
from rqflow.clock import from_micros
from rqflow.deploy import live, statedir
from rqflow.deploy.tunnels import places
from rqflow.deploy.tunnels.status import told as status_of
from rqflow.scheduler.sla import recorded_upto
from rqflow.settings import Settings
from rqflow.store.engine import sqlite_file

Figures = dict[str, dict[tuple[str, ...], float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveFigures:
    """What Redis tells at one moment."""

    #: By Redis' clock; the moment up to which the history has everything.
    now: datetime
    recorded_upto: datetime
    has_leader: bool
    has_worker: bool
    figures: Figures


class Source:
    """Redis, asked over a connection that stays open; a private one is not started."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is opened yet."""
        self._settings = settings
        self._connection: redis.Redis | None = None

    def look(self) -> LiveFigures:
        """Return how all stands. Raises redis-py's errors, ConfigError, BrokerError."""
        if self._connection is None:
            machine = statedir.this_machine()
            url = live.resolved(self._settings, statedir.locate(self._settings, machine), machine).redis.url
            self._connection = broker_connection.open_connection(url, self._settings, client_name="rqflow-metrics")
        return look(self._connection, self._settings)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()


def look(connection: redis.Redis, settings: Settings) -> LiveFigures:
    """Return how all stands, as Redis says. Raises redis-py's errors, BrokerError."""
    connection.ping()
    broker, stream = Broker(connection, settings), EventStream(connection)
    now = broker.now()
    workers = status.workers(connection)
    alive = [one for one in workers if one.last_heartbeat and one.last_heartbeat >= now - settings.worker.lease]
    watched = connection.get(keys.WATCHED)
    found: Figures = {
        **_queues(broker), **_workers(workers),
        "rqflow_queue_unserved_seconds": {(one.queue,): (now - one.since).total_seconds() for one in unserved.standing(connection)},
        "rqflow_pool_slots": _pools(connection),
        "rqflow_tasks_unreachable": {(): int(connection.zcard(keys.UNREACHABLE))},
        "rqflow_schedulers": {(): sum(one.kind == "scheduler" for one in protocol.processes(connection))},
        "rqflow_scheduler_last_heartbeat_timestamp_seconds": {(): from_micros(int(text(watched))).timestamp()} if watched else {},
        "rqflow_events_unrecorded": {(): int(connection.xlen(keys.EVENTS))},
        "rqflow_log_archive_held": {(): int(LogStream(connection).held() is not None)},
    }
    return LiveFigures(now=now, recorded_upto=recorded_upto(stream), has_leader=lock.has_leader(connection), has_worker=bool(alive), figures=found)


def folders(settings: Settings) -> dict[str, Path]:
    """Return the folders of this machine that must have room, by what they are for."""
    machine = statedir.this_machine()
    state = statedir.locate(settings, machine)
    found = live.resolved(settings, state, machine)
    database = sqlite_file(found.database.url)
    return {"home": settings.home, "state": state, "logs": Path(found.logs.folder), **({"database": database.parent} if database else {})}


def tunnels(settings: Settings) -> dict[tuple[str, ...], float]:
    """Return whether each tunnel of this machine works, by what its keeper wrote down; nobody is asked."""
    machine = statedir.this_machine()
    state = statedir.locate(settings, machine)
    return {(name,): int(status_of(tunnel, places.place(state, machine, name)).is_working) for name, tunnel in settings.tunnels.named.items()}


def _queues(broker: Broker) -> Figures:
    jobs: dict[tuple[str, ...], float] = {}
    tasks: dict[tuple[str, ...], float] = {}
    paused: dict[tuple[str, ...], float] = {}
    for one in control.queues(broker):
        jobs |= {(one.name, "queued"): one.waiting, (one.name, "started"): one.running, (one.name, "failed"): one.failed}
        tasks |= {("queued", one.name): one.waiting, ("running", one.name): one.running}
        paused[one.name,] = int(one.paused_since is not None)
    return {"rqflow_queue_jobs": jobs, "rqflow_tasks": tasks, "rqflow_queue_paused": paused}


def _workers(workers: list[status.WorkerStatus]) -> Figures:
    of_queue: Counter[tuple[str, ...]] = Counter((queue, one.state) for one in workers for queue in one.queues)
    return {
        "rqflow_workers": dict(of_queue),
        "rqflow_worker_slots": {(one.name,): one.slots for one in workers},
        "rqflow_worker_tasks": {(one.name,): one.running for one in workers},
        "rqflow_worker_last_heartbeat_timestamp_seconds": {(one.name,): one.last_heartbeat.timestamp() for one in workers if one.last_heartbeat},
    }


def _pools(connection: Any) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = {}
    for name, pool in status.pools(connection).items():
        found |= {(name, "used"): pool.used, (name, "parked"): pool.parked}
        if pool.slots is not None:
            found[name, "total"] = pool.slots
    return found
