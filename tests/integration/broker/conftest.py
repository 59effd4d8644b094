from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from rqflow.broker.broker import Broker
from rqflow.settings import RedisSettings, Settings
from tests.epoch import open_epoch
from tests.integration.broker.link_world import World
from tests.proxy import Proxy
from tests.waiting import until


@pytest.fixture
def new_broker(db: redis.Redis, home: Path) -> Callable[[str], Broker]:
    """Make brokers by the name of their caller."""
    return lambda name: Broker(db, Settings(home=home), caller=name)


@pytest.fixture
def broker(new_broker: Callable[[str], Broker]) -> Broker:
    return new_broker("w1")


@pytest.fixture(scope="module")
def tunnel(redis_url: str) -> Iterator[Proxy]:
    with Proxy(redis_url.removeprefix("unix://")) as proxy:
        yield proxy


@pytest.fixture
def new_world(db: redis.Redis, tunnel: Proxy, home: Path) -> Iterator[Callable[[float], World]]:
    """Make worlds, one after the other, by the seconds that a call may take; the link works, and a connection is open."""
    worlds: list[World] = []

    def leave() -> None:
        """Wait until nothing of the world before is under way any more."""
        tunnel.heal()
        for world in worlds:
            world.connection.connection_pool.disconnect()
        until(lambda: tunnel.connections == 0, what="all connections to end")
        db.flushall()
        open_epoch(db)

    def make(seconds: float) -> World:
        leave()
        worlds.append(World(db, tunnel, Settings(home=home, redis=RedisSettings(url="redis://x", socket_timeout=timedelta(seconds=seconds)))))
        return worlds[-1]

    yield make
    leave()
