"""What a command needs that reads or writes the history: the live state, and the database. Opened together, closed together."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

from rqflow import logs
from rqflow.deploy import statedir
from rqflow.deploy.live import Live, open_live, resolved
from rqflow.deploy.tunnels import linkage
from rqflow.exceptions import StoreError
from rqflow.settings import Settings
from rqflow.store import schema
from rqflow.store.engine import Engine, open_engine

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Services(Live):
    """The live state and the history, open."""

    engine: Engine


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
def open_database(settings: Settings, *, must_answer: bool = True) -> Iterator[Engine]:
    """Open the database alone. An absent or older SQLite of our own is upgraded; any other must be of the right revision.

    Raises Conflict naming `rqflow db upgrade`, and StoreError for one that does not answer, unless it need not now.
    """
    with any_database(settings) as engine:
        try:
            if not settings.database.url:
                schema.upgrade(engine)
            schema.check(engine)
        except StoreError as error:
            if must_answer:
                raise StoreError(error.message, hint=linkage.hint(settings) or error.hint) from error
            logger.warning("going on without the database, which is waited for; nothing is lost, events wait in Redis: %s", error,
                           extra=logs.context("database_down"))
        yield engine


@contextmanager
def open_services(settings: Settings, *, client_name: str = "", must_answer: bool = True, waits: bool = False) -> Iterator[Services]:
    """Open state folder, Redis and database; start the private Redis when none is configured, with `waits` wait for a configured one.

    Raises ConfigError, Conflict, BrokerError or StoreError, each saying what to do; the last not unless the database `must_answer`.
    """
    with open_live(settings, client_name=client_name, waits=waits) as live, open_database(settings, must_answer=must_answer) as engine:
        yield Services(**{field.name: getattr(live, field.name) for field in fields(live)}, engine=engine)
