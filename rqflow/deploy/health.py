"""Whether the parts of a system live, as others see it: for probes, watchdogs and people. Starts and changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import redis

from rqflow import clock
from rqflow.broker import lock, protocol, status
from rqflow.deploy import live, statedir
from rqflow.exceptions import RqflowError
from rqflow.settings import Settings, without_password
from rqflow.store import schema
from rqflow.store.engine import open_engine, sqlite_file

REDIS, DB, SCHEDULER, WORKER = "redis", "db", "scheduler", "worker"
COMPONENTS = (REDIS, DB, SCHEDULER, WORKER)


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """How one part is."""

    component: str
    is_healthy: bool
    #: What was seen, for people.
    detail: str
    #: The newest sign of life, where there is one.
    heartbeat: datetime | None = None


def look(settings: Settings, components: Sequence[str] = COMPONENTS, *, max_age: timedelta | None = None) -> list[Health]:
    """Return how these parts are. A worker whose last sign of life is older than `max_age` (worker.lease when None) does not count."""
    found = [_database(settings)] if DB in components else []
    if set(components) - {DB}:
        found += _in_redis(settings, max_age or settings.worker.lease)
    order = {name: place for place, name in enumerate(COMPONENTS)}
    return sorted((one for one in found if one.component in components), key=lambda one: order[one.component])


def _in_redis(settings: Settings, max_age: timedelta) -> list[Health]:
    try:
        with live.peek(settings) as connection:
            if connection is None:
                return _unknown("Redis does not answer")
            seconds, micros = connection.time()
            now = clock.from_micros(seconds * 1_000_000 + micros)
            return [Health(component=REDIS, is_healthy=True, detail=f"answers, version {connection.info('server').get('redis_version', '?')}"),
                    _scheduler(connection), _workers(connection, now, max_age)]
    except (redis.exceptions.RedisError, RqflowError) as error:
        return _unknown(str(error))


def _unknown(why: str) -> list[Health]:
    return [Health(component=name, is_healthy=False, detail=why) for name in (REDIS, SCHEDULER, WORKER)]


def _scheduler(connection: redis.Redis) -> Health:
    there = [process for process in protocol.processes(connection) if process.kind == "scheduler"]
    if not lock.has_leader(connection):
        return Health(component=SCHEDULER, is_healthy=False, detail=f"{_number(there)}, none of which leads" if there else "none lives")
    return Health(component=SCHEDULER, is_healthy=True, detail=f"{_number(there)}, one leads")


def _number(there: Sequence[object]) -> str:
    return f"{len(there)} live{'' if len(there) > 1 else 's'}"


def _workers(connection: redis.Redis, now: datetime, max_age: timedelta) -> Health:
    there = status.workers(connection)
    heard = [worker for worker in there if worker.last_heartbeat and worker.last_heartbeat >= now - max_age]
    newest = max((worker.last_heartbeat for worker in there if worker.last_heartbeat), default=None)
    detail = "none was heard of lately" if there else "none lives"
    if heard:
        detail = f"{_number(heard)}, with {sum(worker.slots for worker in heard)} slots"
    return Health(component=WORKER, is_healthy=bool(heard), detail=detail, heartbeat=newest)


def _database(settings: Settings) -> Health:
    """Ask the database; a SQLite that is not there is not made."""
    machine = statedir.this_machine()
    try:
        url = live.resolved(settings, statedir.locate(settings, machine), machine).database.url
        file = sqlite_file(url)
        if file is not None and not file.exists():
            return Health(component=DB, is_healthy=False, detail=f"{file} is not there yet")
        engine = open_engine(url)
        try:
            schema.check(engine)
        finally:
            engine.dispose()
    except RqflowError as error:
        return Health(component=DB, is_healthy=False, detail=str(error))
    return Health(component=DB, is_healthy=True, detail=f"{without_password(url)} answers, revision {schema.head()}")
