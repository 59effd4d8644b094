"""Redis and the database for a process that serves whether they are there or not: opened when they are asked for, and again after they were away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from queue import Empty, LifoQueue

import redis

from rqflow import clock, logs
from rqflow.broker import connection as broker_connection
from rqflow.broker import protocol
from rqflow.broker.broker import Broker
from rqflow.broker.faults import LINK_ERRORS, unreachable
from rqflow.deploy import background, embedded, statedir
from rqflow.deploy.live import Live, resolved
from rqflow.exceptions import BrokerError, RqflowError
from rqflow.settings import Settings
from rqflow.store import schema
from rqflow.store.engine import Engine, open_engine

logger = logging.getLogger(__name__)

#: Seconds after which a call to Redis, or to the database, counts as not answered: somebody waits for the page.
PATIENCE = 5.0


class Lasting:
    """The live state and the history of one home, for any number of threads."""

    def __init__(self, settings: Settings, *, client_name: str) -> None:
        """Open nothing; `client_name` is what Redis calls the connections."""
        self._given, self._name = settings, client_name
        self._turn = threading.Lock()
        self._stack = ExitStack()
        self._settings: Settings | None = None
        self._engine: Engine | None = None
        self._is_embedded_used = False
        self._started: list[background.Started] = []
        self._brokers: LifoQueue[Broker] = LifoQueue()

    @property
    def settings(self) -> Settings:
        """The settings with URLs, work folder and archive filled in. Raises ConfigError."""
        with self._turn:
            if self._settings is None:
                machine = statedir.this_machine()
                found = resolved(self._given, statedir.prepare(self._given, machine), machine)
                quick = min(found.redis.socket_timeout, timedelta(seconds=PATIENCE))
                self._settings = replace(found, redis=replace(found.redis, socket_timeout=quick))
            return self._settings

    def engine(self) -> Engine:
        """Return the database, which was found to be of the right revision once. Our own SQLite is made, or upgraded, first.

        Raises ConfigError, Conflict for another revision, StoreError while it does not answer.
        """
        settings = self.settings
        with self._turn:
            if self._engine is None:
                made = open_engine(settings.database.url, seconds=int(PATIENCE) * 3)
                try:
                    if not self._given.database.url:
                        schema.upgrade(made)
                    schema.check(made)
                except BaseException:
                    made.dispose()
                    raise
                self._engine = made
            return self._engine

    @contextmanager
    def broker(self) -> Iterator[Broker]:
        """Lend a broker to one thread, for the block.

        Raises ConfigError, Conflict for a release that cannot work with what lives in Redis, BrokerError. One that fails in the block is closed, and
        not lent again.
        """
        since = clock.utcnow()
        lent = self._take()
        try:
            lent.connection.ping()
            yield lent
        except LINK_ERRORS as error:
            lent.connection.close()
            raise unreachable(error, since) from error
        except redis.exceptions.RedisError as error:
            lent.connection.close()
            raise BrokerError(f"Redis refuses what it is asked: {error}", hint="What may the user in redis.url do there?") from error
        except RqflowError as error:
            # What is refused to somebody says nothing of the link.
            if isinstance(error, BrokerError):
                lent.connection.close()
            else:
                self._brokers.put(lent)
            raise
        except BaseException:
            lent.connection.close()
            raise
        else:
            self._brokers.put(lent)

    def carry(self, broker: Broker) -> None:
        """See that somebody carries out what was set free: on the embedded default processes are started that end when they are idle."""
        if self._given.redis.url:
            return
        machine = statedir.this_machine()
        state = statedir.locate(self._given, machine)
        where = embedded.place(state, machine)
        live = Live(settings=self.settings, state=state, is_embedded=True, users=where.users, connection=broker.connection, broker=broker)
        with self._turn:
            self._started = background.ensure(live, self._given.file, self._started)

    def close(self) -> None:
        """Close all that was opened."""
        while True:
            try:
                self._brokers.get_nowait().connection.close()
            except Empty:
                break
        if self._engine is not None:
            self._engine.dispose()
        self._stack.close()

    def _take(self) -> Broker:
        try:
            return self._brokers.get_nowait()
        except Empty:
            return self._another()

    def _another(self) -> Broker:
        settings = self.settings
        if not self._given.redis.url:
            self._use_private_redis()
        since = clock.utcnow()
        self._ask_once(settings)
        connection = broker_connection.connect(settings.redis.url, settings, client_name=self._name)
        try:
            protocol.check(connection)
        except LINK_ERRORS as error:
            connection.close()
            raise unreachable(error, since) from error
        except BaseException:
            connection.close()
            raise
        return Broker(connection, settings)

    def _ask_once(self, settings: Settings) -> None:
        """Raise BrokerError for a Redis that does not answer now: what comes after this asks patiently, and somebody waits for the page."""
        since = clock.utcnow()
        with broker_connection.open_connection(settings.redis.url, settings, client_name=self._name) as connection:
            try:
                connection.ping()
            except LINK_ERRORS as error:
                raise unreachable(error, since) from error
            except redis.exceptions.RedisError as error:  # of which `connect` knows more
                logger.debug("Redis refuses: %s", error, extra=logs.context("redis_refuses"))

    def _use_private_redis(self) -> None:
        """Start the private Redis unless it runs, and keep it running until this is closed."""
        with self._turn:
            if not self._is_embedded_used:
                machine = statedir.this_machine()
                where = embedded.place(statedir.prepare(self._given, machine), machine)
                self._stack.enter_context(embedded.running(self._given, where, machine))
                self._is_embedded_used = True
