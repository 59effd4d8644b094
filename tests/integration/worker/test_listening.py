"""The threads of a worker that wait for Redis."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from rqflow import settings as configuration
from rqflow.broker.broker import Broker
from rqflow.broker.connection import connect
from rqflow.worker.listening import Bell
from tests.profile import PATIENCE

#: The timeout of a call, in seconds.
TIMEOUT = 1.0


@pytest.fixture
def broker(tmp_path: Path, redis_url: str, db: redis.Redis) -> Iterator[Broker]:
    """A broker whose calls may not take long."""
    settings = configuration.load(home=tmp_path, environ={"RQFLOW__REDIS__SOCKET_TIMEOUT": f"{TIMEOUT}s"})
    with connect(redis_url, settings) as connection:
        yield Broker(connection, settings)


def test_bell_that_nobody_rings_stays_silent_however_short_the_timeout_of_a_call(broker: Broker) -> None:
    told = threading.Event()
    bell = Bell(broker, ["default"], told.set)
    bell.start()
    bell.listen(True)
    assert not told.wait(2 * TIMEOUT)
    broker.ring_bell("default")
    assert told.wait(PATIENCE)
    assert bell.rang()
    bell.stop()
    bell.join(PATIENCE)
