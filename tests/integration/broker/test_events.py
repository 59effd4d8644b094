"""The stream of events, seen by those who ask what was recorded."""

from __future__ import annotations

import pytest
import redis

from rqflow.broker import keys
from rqflow.broker.events import EventStream


@pytest.fixture
def with_pending(db: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> EventStream:
    """A stream with an entry that somebody holds, in a Redis that is emptied between the two questions that are asked of it."""
    events = EventStream(db)
    events.recorded_upto()  # makes the group
    db.xadd(keys.EVENTS, {"e": "[]"})
    db.xreadgroup("recorders", "a", {keys.EVENTS: ">"})
    groups = events._groups()
    assert groups[0]["pending"] == 1

    def and_emptied() -> object:
        db.flushall()
        return groups

    monkeypatch.setattr(events, "_groups", and_emptied)
    return events


def test_nothing_counts_as_recorded_in_a_redis_that_is_emptied_meanwhile(with_pending: EventStream) -> None:
    assert with_pending.recorded_upto() == "0-0"


def test_nothing_is_trimmed_then_either(with_pending: EventStream, db: redis.Redis) -> None:
    with_pending.trim()
    assert db.xlen(keys.EVENTS) == 0
