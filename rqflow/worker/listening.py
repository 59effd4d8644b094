"""The two threads of a worker that wait for Redis: one for the doorbell of its queues, one for commands to it.

Each has a connection of its own and mends it for ever. They change nothing themselves: they leave a note and wake the main loop.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from rqflow import clock, logs
from rqflow.broker.broker import Broker
from rqflow.broker.connection import longest_wait
from rqflow.worker.link import Backoff

logger = logging.getLogger(__name__)

#: Seconds that one wait for a bell or a message takes at most.
_WAIT = 4.0
#: Seconds without a sign of life after which a subscription is asked for one, where calls have no limit; else it is that limit.
_QUIET = 10.0
#: How many times longer one is waited for before the subscription is made anew.
_DEAD = 2.5
#: What a broken link raises, ValueError when the worker itself cut it in the middle of a read (redis-py's buffer is closed then).
LINK_ENDS = (redis.exceptions.RedisError, OSError, ValueError)


class Bell:
    """Waits for work while slots are free."""

    def __init__(self, broker: Broker, queues: Sequence[str], notify: Callable[[], None]) -> None:
        """Wait at the bells of `queues` by a `broker` of this thread's own; `notify` is called when one rang."""
        self._broker, self._queues, self._notify = broker, list(queues), notify
        self._wanted, self._stop = threading.Event(), threading.Event()
        self._rang = False
        self._thread = threading.Thread(target=self._run, name="bell", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def listen(self, wanted: bool) -> None:
        """Say whether there are free slots."""
        if wanted:
            self._wanted.set()
        else:
            self._wanted.clear()

    def rang(self) -> bool:
        """Tell whether a bell rang since the last call."""
        rang, self._rang = self._rang, False
        return rang

    def stop(self) -> None:
        """End; the thread notices when its wait is over, or its connection is cut."""
        self._stop.set()
        self._wanted.set()

    def join(self, seconds: float) -> None:
        """Wait up to `seconds` for the end of the thread."""
        self._thread.join(seconds)

    def _run(self) -> None:
        backoff = Backoff()
        while not self._stop.is_set():
            self._wanted.wait()
            if self._stop.is_set():
                return
            try:
                rang = self._broker.wait_bell(self._queues, _WAIT)
                backoff.reset()
                if rang:
                    self._answer()
            except LINK_ENDS as error:
                logger.debug("no bell: %s", error, extra=logs.context("bell_lost"))
                self._stop.wait(backoff.next())
                # There may be work that was rung for meanwhile.
                self._rang = True
                self._notify()

    def _answer(self) -> None:
        """Pass a bell on to the main loop; to other workers when this one has no free slot, or ends, by now."""
        if self._wanted.is_set() and not self._stop.is_set():
            self._wanted.clear()
            self._rang = True
            self._notify()
        else:
            for queue in self._queues:
                self._broker.ring_bell(queue)


class Subscription:
    """Receives what is published to this worker: RQ's commands, and hints that a cancel waits."""

    def __init__(self, connection: redis.Redis, channels: Sequence[str], notify: Callable[[], None]) -> None:
        """Subscribe to `channels`; `notify` is called when `take` has something."""
        self._connection, self._channels, self._notify = connection, list(channels), notify
        self._received: deque[tuple[str, bytes]] = deque()
        self._quiet = min(2 * longest_wait(connection), _QUIET)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="commands", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def take(self) -> list[tuple[str, bytes]]:
        """Return the (channel, data) of what has come since the last call."""
        return [self._received.popleft() for _ in range(len(self._received))]

    def stop(self) -> None:
        """End; the thread notices when its wait is over, or its connection is cut."""
        self._stop.set()

    def join(self, seconds: float) -> None:
        """Wait up to `seconds` for the end of the thread."""
        self._thread.join(seconds)

    def _run(self) -> None:
        backoff = Backoff()
        while not self._stop.is_set():
            try:
                self._listen(backoff)
            except LINK_ENDS as error:
                logger.debug("commands cannot be heard: %s", error, extra=logs.context("commands_lost"))
                self._stop.wait(backoff.next())

    def _listen(self, backoff: Backoff) -> None:
        """Hear messages until the link breaks, or gives no sign of life."""
        with self._connection.pubsub() as pubsub:  # type: ignore[no-untyped-call]
            pubsub.subscribe(*self._channels)
            with _retried(pubsub.connection):
                self._hear(pubsub, backoff)

    def _hear(self, pubsub: Any, backoff: Backoff) -> None:
        heard, asked = clock.monotonic(), False
        while not self._stop.is_set():
            message = pubsub.get_message(timeout=min(_WAIT, self._quiet / 2))
            now = clock.monotonic()
            if message is not None:
                heard, asked = now, False
                backoff.reset()
                if message["type"] == "message":
                    self._received.append((message["channel"].decode(), message["data"]))
                    self._notify()
            elif now - heard > _DEAD * self._quiet:
                return
            elif now - heard > self._quiet and not asked:
                asked = True
                pubsub.ping()


@contextmanager
def _retried(connection: Any) -> Iterator[None]:
    """Let redis-py go on after one broken link in the block: it subscribes anew before it raises, and what comes meanwhile would be lost.

    The connection goes back to the pool as it was, for steps must never be retried by redis-py.
    """
    before, connection.retry = connection.retry, Retry(NoBackoff(), 1)
    try:
        yield
    finally:
        connection.retry = before
