from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from rqflow.broker.broker import Broker
from rqflow.settings import Settings


@pytest.fixture
def new_broker(db: redis.Redis, home: Path) -> Callable[[str], Broker]:
    """Make brokers by the name of their caller."""
    return lambda name: Broker(db, Settings(home=home), caller=name)


@pytest.fixture
def broker(new_broker: Callable[[str], Broker]) -> Broker:
    return new_broker("w1")
