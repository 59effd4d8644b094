"""What a command needs that reads or writes the history: the live state, and the database. Opened together, closed together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

from rqflow.deploy import statedir
from rqflow.deploy.live import Live, open_live, resolved
from rqflow.settings import Settings
from rqflow.store import schema
from rqflow.store.engine import Engine, open_engine


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
    with open_live(settings, client_name=client_name) as live, _database(live.settings, is_ours=not settings.database.url) as engine:
        yield Services(**{field.name: getattr(live, field.name) for field in fields(live)}, engine=engine)
