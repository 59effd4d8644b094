from __future__ import annotations

from datetime import timedelta

import redis

from rqflow.broker.lock import Lock
from tests.waiting import until

TTL = timedelta(seconds=10)


def test_only_one_of_two_gets_the_lock(db: redis.Redis) -> None:
    first, second = (Lock(db, "x", ttl=TTL) for _ in range(2))
    assert (first.hold(), second.hold(), first.hold()) == (True, False, True)


def test_holding_on_prolongs_the_lock(db: redis.Redis) -> None:
    lock = Lock(db, "x", ttl=TTL)
    lock.hold()
    db.pexpire("x", 50)
    lock.hold()
    assert db.pttl("x") > 5000


def test_a_lock_that_is_not_held_on_to_goes_to_the_next(db: redis.Redis) -> None:
    first, second = Lock(db, "x", ttl=timedelta(milliseconds=50)), Lock(db, "x", ttl=TTL)
    assert first.hold()
    until(second.hold, what="the second to get the lock")
    assert not first.hold()


def test_a_lock_is_released_by_its_owner_only(db: redis.Redis) -> None:
    first, second = (Lock(db, "x", ttl=TTL) for _ in range(2))
    first.hold()
    assert not second.release()
    assert first.release()
    assert second.hold()
