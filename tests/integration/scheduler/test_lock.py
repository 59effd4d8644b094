from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis

from rqflow import process
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


@pytest.fixture
def other() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process of this machine, and the name that it gave itself."""
    code = "import sys; from rqflow.process import name_of_this; print(name_of_this(), flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        yield other, other.stdout.readline().strip()
        other.kill()


def test_lock_of_a_process_that_was_killed_on_this_machine_is_free_at_once(db: redis.Redis, other: tuple[subprocess.Popen[str], str]) -> None:
    """After everything was killed at once, Redis included, whose append-only file has the lock still."""
    killed, name = other
    lock = Lock(db, "x", ttl=TTL)
    db.set("x", name, px=TTL)
    assert not lock.hold()
    killed.kill()
    killed.wait()
    assert lock.hold()
    assert db.get("x") == lock.token.encode()


def test_lock_of_a_process_of_which_nothing_is_known_stays_until_its_end(db: redis.Redis) -> None:
    lock = Lock(db, "x", ttl=TTL)
    boot, namespace, pid, started, unique = process.name_of_this().split(":")
    of_others = [
        f"another-boot:{namespace}:999999999:{started}:{unique}", f"{boot}:1:999999999:{started}:{unique}", "0123456789abcdef", "", "a:b:c:d",
    ]
    for name in of_others:
        db.set("x", name)
        assert not lock.hold(), name
        assert db.get("x") == name.encode()
    db.set("x", f"{boot}:{namespace}:{pid}:{int(started) + 1}:{unique}")
    assert lock.hold(), "this pid is another process by now"


def test_lock_of_another_users_process_that_lives_stays(db: redis.Redis) -> None:
    boot, namespace, _, _, unique = process.name_of_this().split(":")
    first = process.read(1)
    assert first
    lock = Lock(db, "x", ttl=TTL)
    db.set("x", f"{boot}:{namespace}:1:{first.started}:{unique}")
    assert not lock.hold()
