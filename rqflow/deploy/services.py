"""What a command needs to be up: state folder, Redis (private or configured), database. Opened together, closed together."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import redis

from rqflow import logs
from rqflow.broker import connection as broker_connection
from rqflow.broker.broker import Broker
from rqflow.deploy import embedded, statedir
from rqflow.settings import Settings
from rqflow.store import schema
from rqflow.store.engine import Engine, open_engine

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """Everything open. `settings` has no empty place any more: URLs, work folder and archive are filled in."""

    settings: Settings
    state: Path
    #: True when Redis is the private one of this home; `users` is then the file whose shared flock keeps it running.
    is_embedded: bool
    users: Path | None
    connection: redis.Redis
    broker: Broker
    engine: Engine


def resolved(settings: Settings, state: Path, machine: statedir.Machine) -> Settings:
    """Return `settings` with the defaults that depend on the state folder filled in."""
    redis_url = settings.redis.url or embedded.place(state, machine).url
    return replace(
        settings,
        redis=replace(settings.redis, url=redis_url),
        database=replace(settings.database, url=settings.database.url or f"sqlite:///{state / 'rqflow.db'}"),
        worker=replace(settings.worker, work_dir=settings.worker.work_dir or str(state / "worker")),
        logs=replace(settings.logs, folder=str(settings.home / settings.logs.folder) if settings.logs.folder else str(state / "logs")),
    )


@contextmanager
def any_database(settings: Settings) -> Iterator[Engine]:
    """Give an engine for the database as it is, of whatever revision; nothing is checked."""
    machine = statedir.this_machine()
    engine = open_engine(resolved(settings, statedir.prepare(settings, machine), machine).database.url)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def open_database(settings: Settings) -> Iterator[Engine]:
    """Open the database alone. An absent or older SQLite of our own is upgraded; any other must be of the right revision.

    Raises StoreError, or Conflict naming `rqflow db upgrade`.
    """
    machine = statedir.this_machine()
    state = statedir.prepare(settings, machine)
    with _database(resolved(settings, state, machine), is_ours=not settings.database.url) as engine:
        yield engine


@contextmanager
def _database(settings: Settings, *, is_ours: bool) -> Iterator[Engine]:
    engine = open_engine(settings.database.url)
    try:
        if is_ours:
            schema.upgrade(engine)
        schema.check(engine)
        yield engine
    finally:
        engine.dispose()


@contextmanager
def open_services(settings: Settings, *, client_name: str = "") -> Iterator[Services]:
    """Open state folder, Redis and database; start the private Redis when none is configured.

    Raises ConfigError, Conflict, BrokerError or StoreError, each saying what to do.
    """
    with ExitStack() as stack:
        machine = statedir.this_machine()
        state = statedir.prepare(settings, machine)
        is_embedded = not settings.redis.url
        place = embedded.place(state, machine)
        if is_embedded:
            stack.enter_context(embedded.running(settings, place, machine))
        found = resolved(settings, state, machine)
        connection = stack.enter_context(broker_connection.connect(found.redis.url, found, client_name=client_name))
        engine = stack.enter_context(_database(found, is_ours=not settings.database.url))
        logger.debug("services open", extra=logs.context("services_open", state=str(state)))
        yield Services(settings=found, state=state, is_embedded=is_embedded, users=place.users if is_embedded else None,
                       connection=connection, broker=Broker(connection, found), engine=engine)


def another_broker(services: Services, *, client_name: str = "") -> Broker:
    """Return a broker on a connection of its own, for another thread."""
    return Broker(broker_connection.open_connection(services.settings.redis.url, services.settings, client_name=client_name), services.settings)
