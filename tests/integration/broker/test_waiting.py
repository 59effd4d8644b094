"""Waiting at Redis: no wait outlasts the time after which a call would look like a broken link."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from rqflow import settings as configuration
from rqflow.broker.broker import Broker
from rqflow.broker.connection import connect
from rqflow.broker.events import EventStream
from rqflow.broker.logstream import LogStream
from rqflow.broker.requests import RequestDesk, ask
from rqflow.exceptions import BrokerError
from rqflow.worker.listening import Bell
from tests.profile import PATIENCE

#: The timeout of a call, in seconds, and a wait that is longer.
TIMEOUT, LONG = 0.3, 1.0


@pytest.fixture
def broker(tmp_path: Path, redis_url: str, db: redis.Redis) -> Iterator[Broker]:
    """A broker whose calls may not take long."""
    settings = configuration.load(home=tmp_path, environ={"RQFLOW__REDIS__SOCKET_TIMEOUT": f"{TIMEOUT}s"})
    with connect(redis_url, settings) as connection:
        yield Broker(connection, settings)


def test_nothing_to_read_is_no_broken_link_however_short_the_timeout_of_a_call(broker: Broker) -> None:
    connection, milliseconds = broker.connection, int(LONG * 1000)
    assert not broker.wait_bell(["default"], LONG)
    assert not broker.wait_wakeup(LONG)
    assert EventStream(connection).read("a", block_ms=milliseconds) == []
    assert LogStream(connection).read(block_ms=milliseconds) == []
    assert RequestDesk(connection, {}).step(block_ms=milliseconds) == 0


def test_an_answer_is_waited_for_longer_than_a_call_may_take(broker: Broker, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as connection:
        clerk = threading.Timer(2 * TIMEOUT, RequestDesk(connection, {"echo": lambda asked: {"a": asked["a"]}}).step)
        clerk.start()
        assert ask(broker.connection, "echo", {"a": 1}, timeout=PATIENCE) == {"a": 1}
        clerk.join()
    with pytest.raises(BrokerError, match="did not answer within"):
        ask(broker.connection, "echo", {}, timeout=2 * TIMEOUT)


def test_bell_that_nobody_rings_stays_silent_however_short_the_timeout_of_a_call(broker: Broker) -> None:
    told = threading.Event()
    bell = Bell(broker, ["default"], told.set)
    bell.start()
    bell.listen(True)
    assert not told.wait(LONG)
    broker.ring_bell("default")
    assert told.wait(PATIENCE)
    assert bell.rang()
    bell.stop()
    bell.join(PATIENCE)
