from __future__ import annotations

from pathlib import Path

import pytest
import redis

from rqflow.store.engine import Engine
from tests.integration.actions.hub import Hub


@pytest.fixture
def hub(db: redis.Redis, engine: Engine, home: Path) -> Hub:
    """A hub on the database of the test."""
    return Hub(db, engine, home)
