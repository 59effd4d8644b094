"""What every process of rqflow needs to be up: the state folder and Redis, private or configured. Knows nothing of the database."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import redis

from rqflow import clock
from rqflow.broker import connection as broker_connection
from rqflow.broker import protocol
from rqflow.broker.broker import Broker
from rqflow.broker.faults import LINK_ERRORS, Outage, lastingly, patiently, unreachable
from rqflow.deploy import embedded, statedir
from rqflow.deploy.tunnels import linkage, places, status
from rqflow.exceptions import BrokerError
from rqflow.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Live:
    """The live state, open. `settings` has no empty place any more: URLs, work folder and archive are filled in."""

    settings: Settings
    state: Path
    #: True when Redis is the private one of this home; `users` is then the file whose shared flock keeps it running.
    is_embedded: bool
    users: Path | None
    connection: redis.Redis
    broker: Broker


def resolved(settings: Settings, state: Path, machine: statedir.Machine) -> Settings:
    """Return `settings` with the defaults that depend on the state folder filled in, and URLs that go through tunnels told by their sockets."""
    settings = places.resolve(settings, state, machine)
    redis_url = settings.redis.url or embedded.place(state, machine).url
    return replace(
        settings,
        redis=replace(settings.redis, url=redis_url),
        database=replace(settings.database, url=settings.database.url or f"sqlite:///{state / 'rqflow.db'}"),
        worker=replace(settings.worker, work_dir=settings.worker.work_dir or str(state / "worker")),
        logs=replace(settings.logs, folder=str(settings.home / settings.logs.folder) if settings.logs.folder else str(state / "logs")),
    )


@contextmanager
def open_live(settings: Settings, *, client_name: str = "", waits: bool = False) -> Iterator[Live]:
    """Open state folder and Redis; start the private Redis when none is configured.

    With `waits` a configured Redis that is away is waited for, as long as it takes; SIGTERM and SIGINT end that by SystemExit.
    Raises ConfigError, Conflict (also for a release that cannot work with what lives there) or BrokerError, each saying what to do;
    BrokerError also when Redis no longer answers in the block.
    """
    with ExitStack() as stack:
        machine = statedir.this_machine()
        state = statedir.prepare(settings, machine)
        is_embedded = not settings.redis.url
        place = embedded.place(state, machine)
        if is_embedded:
            stack.enter_context(embedded.running(settings, place, machine))
        found = resolved(settings, state, machine)
        waits = waits and not is_embedded
        with _ended_by_signals() if waits else nullcontext():
            connection = _connected(settings, found, client_name=client_name, waits=waits)
        stack.enter_context(connection)
        try:
            if waits:  # it may go again just after it has answered
                lastingly(Outage(logger), protocol.check, connection)
            else:
                patiently(connection, protocol.check, connection)
            yield Live(settings=found, state=state, is_embedded=is_embedded, users=place.users if is_embedded else None, connection=connection,
                       broker=Broker(connection, found))
        except LINK_ERRORS as error:
            raise unreachable(error, clock.utcnow(), noticed=True) from error
        except redis.exceptions.RedisError as error:
            raise BrokerError(f"Redis refuses what it is asked: {error}", hint="What may the user in redis.url do there?") from error


def _connected(settings: Settings, found: Settings, *, client_name: str, waits: bool) -> redis.Redis:
    """Return a checked connection; the error for a Redis that does not answer says what is wrong with the tunnel to it."""
    try:
        return broker_connection.connect(found.redis.url, found, client_name=client_name, waits=waits)
    except BrokerError as error:
        machine = statedir.this_machine()
        told = status.hint(settings, statedir.locate(settings, machine), machine) or linkage.hint(settings)
        raise BrokerError(error.message, hint=told or error.hint) from error


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGINT end this process in good order in the block; it holds nothing yet."""
    if threading.current_thread() is not threading.main_thread():  # which alone may say what a signal does
        yield
        return

    def end(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def peek(settings: Settings) -> Iterator[redis.Redis | None]:
    """Give a connection to Redis if it answers now, else None; starts and writes nothing. Raises ConfigError for a bad URL."""
    machine = statedir.this_machine()
    url = resolved(settings, statedir.locate(settings, machine), machine).redis.url
    with broker_connection.open_connection(url, settings, client_name="rqflow-peek") as connection:
        try:
            connection.ping()
        except redis.exceptions.RedisError:
            yield None
        else:
            yield connection


def is_link_down(settings: Settings) -> bool:
    """Look whether the tunnel that Redis is reached through is down; False where none leads to it. Raises ConfigError for a bad URL."""
    name = linkage.through(settings)
    if not name:
        return False
    own = linkage.seen(settings, name)
    if own is not None:
        return not own.is_working
    with peek(settings) as connection:
        return connection is None


def another_broker(live: Live, *, client_name: str = "") -> Broker:
    """Return a broker on a connection of its own, for another thread."""
    return Broker(broker_connection.open_connection(live.settings.redis.url, live.settings, client_name=client_name), live.settings)
