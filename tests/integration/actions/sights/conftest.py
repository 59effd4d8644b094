from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import redis
from sqlalchemy import event

from rqflow.store.engine import Engine

#: Counts what a block asks: SQL statements, and round trips to Redis.
Counting = Callable[[], "contextmanager[Counted]"]


class Counted:
    """What was asked so far."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.round_trips = 0


@pytest.fixture
def counted(engine: Engine, db: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    """All that the test asks from now on of SQL and of Redis; `statements.clear()` begins anew."""
    found = Counted()

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA")):
            found.statements.append(statement)

    read = redis.connection.AbstractConnection.send_packed_command

    def sent(self: redis.connection.AbstractConnection, *args: object, **given: object) -> object:
        found.round_trips += 1
        return read(self, *args, **given)

    event.listen(engine, "before_cursor_execute", note)
    monkeypatch.setattr(redis.connection.AbstractConnection, "send_packed_command", sent)
    yield found
    event.remove(engine, "before_cursor_execute", note)
