"""Whether the parts of a system live, as others see it: for probes, watchdogs and people. Starts and changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import redis

from rqflow import clock
from rqflow.broker import lock, protocol, status
from rqflow.deploy import live, statedir
from rqflow.deploy.tunnels import linkage
from rqflow.exceptions import NotFound, RqflowError
from rqflow.settings import Settings, without_password
from rqflow.store import schema
from rqflow.store.engine import Engine, open_engine, sqlite_file

REDIS, DB, SCHEDULER, WORKER, WEBSERVER = "redis", "db", "scheduler", "worker", "webserver"
COMPONENTS = (REDIS, DB, SCHEDULER, WORKER, WEBSERVER)
#: Seconds that a web server of this machine gets to answer.
_WEB_SECONDS = 5.0
#: Seconds that the database gets for an answer: one behind a link that swallows everything would never give one.
_DATABASE_SECONDS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """How one part is."""

    component: str
    is_healthy: bool
    #: What was seen, for people.
    detail: str
    #: The newest sign of life, where there is one.
    heartbeat: datetime | None = None


def parts(settings: Settings) -> tuple[str, ...]:
    """Return the parts that a system has: all, the web server only where one was started on this machine and has not ended in good order."""
    try:
        has_web = webserver_file(statedir.locate(settings, statedir.this_machine())).exists()
    except RqflowError:
        has_web = False
    return COMPONENTS if has_web else tuple(name for name in COMPONENTS if name != WEBSERVER)


def look(settings: Settings, components: Sequence[str] | None = None, *, max_age: timedelta | None = None) -> list[Health]:
    """Return how these parts are, or all that there are. A worker whose last sign of life is older than `max_age` (worker.lease) does not count."""
    components = parts(settings) if components is None else components
    found = [_database(settings)] if DB in components else []
    if WEBSERVER in components:
        found.append(_webserver(settings))
    if set(components) - {DB, WEBSERVER}:
        found += _in_redis(settings, max_age or settings.worker.lease)
    order = {name: place for place, name in enumerate(COMPONENTS)}
    return sorted((one for one in found if one.component in components), key=lambda one: order[one.component])


def _in_redis(settings: Settings, max_age: timedelta) -> list[Health]:
    try:
        with live.peek(settings) as connection:
            if connection is None:
                link = linkage.said(settings)
                return _unknown(f"{link}: Redis does not answer" if link else "Redis does not answer")
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


def webserver_file(state: Path) -> Path:
    """Return the file in which the web server of this machine writes where it listens."""
    return state / "webserver.url"


def _webserver(settings: Settings) -> Health:
    """Ask the web server of this machine whether it lives."""
    try:
        url = webserver_file(statedir.locate(settings, statedir.this_machine())).read_text(encoding="utf-8").strip()
    except (OSError, RqflowError):
        return Health(component=WEBSERVER, is_healthy=False, detail="none was started on this machine")
    import requests  # here: takes a tenth of a second, which other probes do not need

    try:
        answer = requests.get(f"{url}/healthz", timeout=_WEB_SECONDS, allow_redirects=False)
    except requests.RequestException:
        return Health(component=WEBSERVER, is_healthy=False, detail=f"does not answer on {url}")
    return Health(component=WEBSERVER, is_healthy=answer.ok, detail=f"answers on {url}")


class Database:
    """The database, asked over connections that stay open; a SQLite that is not there is not made."""

    def __init__(self, settings: Settings, *, seconds: int | None = None) -> None:
        """Nothing is opened yet. No answer is waited for longer than `seconds`, if given."""
        self._settings, self._seconds = settings, seconds
        self._engine: Engine | None = None
        self._file: Path | None = None
        self.url = ""

    def engine(self) -> Engine:
        """Return the engine; raises NotFound while the SQLite file is not there, ConfigError for a bad URL."""
        if self._engine is None:
            machine = statedir.this_machine()
            self.url = live.resolved(self._settings, statedir.locate(self._settings, machine), machine).database.url
            self._file, self._engine = sqlite_file(self.url), open_engine(self.url, seconds=self._seconds)
        if self._file is not None and not self._file.exists():
            raise NotFound(f"{self._file} is not there yet")
        return self._engine

    def close(self) -> None:
        """Close all connections."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None


def _database(settings: Settings) -> Health:
    opened = Database(settings, seconds=_DATABASE_SECONDS)
    try:
        schema.check(opened.engine())
    except RqflowError as error:
        return Health(component=DB, is_healthy=False, detail=str(error))
    finally:
        opened.close()
    return Health(component=DB, is_healthy=True, detail=f"{without_password(opened.url)} answers, revision {schema.head()}")
