"""A version in Redis: written in parts, and there as a whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from rqflow.broker import creation, keys, rows
from rqflow.broker.broker import Broker
from rqflow.broker.steps import Steps
from rqflow.dag.version import Version
from rqflow.exceptions import BrokerError
from tests.integration.broker.playing import play
from tests.unit.builders import a_run, a_version


@pytest.fixture
def version() -> Version:
    """A chain whose version has some dozen fields."""
    return a_version({f"t{number}": [f"t{number - 1}"] if number else [] for number in range(10)})


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch, version: Version) -> int:
    """Let a part have few fields; the number of parts of the version."""
    monkeypatch.setattr(creation, "FIELDS", 4)
    return len(list(creation._parts(rows.version_fields(version))))


@pytest.fixture
def at_part(monkeypatch: pytest.MonkeyPatch, parts: int) -> Callable[[int, Callable[[], object]], None]:
    """Do something once before such a part is written."""
    together, written = Steps.together, [0]

    def arrange(number: int, deed: Callable[[], object]) -> None:
        assert number < parts

        def watched(steps: Steps, *commands: Any) -> Any:
            written[0] += 1
            if written[0] == number + 1:
                deed()
            return together(steps, *commands)

        monkeypatch.setattr(Steps, "together", watched)

    return arrange


def fields(db: redis.Redis, version: Version) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in db.hgetall(keys.VERSION + version.sha).items()}


def copies(db: redis.Redis) -> list[bytes]:
    return list(db.scan_iter(f"{keys.VERSION}*:copy:*"))


def is_whole(db: redis.Redis, version: Version) -> bool:
    """Tell whether Redis has a version to the last field, for good, and nothing beside it."""
    return fields(db, version) == dict(rows.version_fields(version)) and db.ttl(keys.VERSION + version.sha) == -1 and copies(db) == []


def test_nobody_sees_a_version_before_its_last_part(broker: Broker, db: redis.Redis, version: Version, parts: int,
                                                   at_part: Callable[[int, Callable[[], object]], None]) -> None:
    seen: list[object] = []
    at_part(parts - 1, lambda: seen.extend([db.exists(keys.VERSION + version.sha), broker.version(version.sha), len(copies(db))]))
    broker.create_run(a_run(version), version)
    assert seen == [0, None, 1]
    assert is_whole(db, version)
    assert len(play(broker)) == 10


def test_what_a_writer_left_that_died_is_nobodys_and_does_not_last(broker: Broker, new_broker: Callable[[str], Broker], db: redis.Redis, version: Version,
                                                                  at_part: Callable[[int, Callable[[], object]], None]) -> None:
    def die() -> None:
        raise KeyboardInterrupt

    run = a_run(version)
    at_part(2, die)
    with pytest.raises(KeyboardInterrupt):
        broker.create_run(run, version)
    left, = copies(db)
    assert 0 < db.ttl(left) <= creation.KEEP
    assert broker.all_runs() == []
    assert new_broker("another").create_run(run, version)
    db.delete(left)
    assert is_whole(db, version)
    assert len(play(broker)) == 10


def test_two_may_write_the_same_version_at_once(broker: Broker, new_broker: Callable[[str], Broker], db: redis.Redis, version: Version,
                                               at_part: Callable[[int, Callable[[], object]], None]) -> None:
    other = new_broker("another")
    at_part(2, lambda: other.create_run(a_run(version, run_id="other"), version))
    assert broker.create_run(a_run(version), version)
    assert is_whole(db, version)
    assert len(play(broker)) == 20


def test_a_version_that_the_release_before_wrote_meanwhile_stays(broker: Broker, db: redis.Redis, version: Version,
                                                                at_part: Callable[[int, Callable[[], object]], None]) -> None:
    """That one writes the key of the version in one call where there is none, and takes it for whole where there is one."""
    at_part(2, lambda: db.hset(keys.VERSION + version.sha, mapping=dict(rows.version_fields(version))))
    assert broker.create_run(a_run(version), version)
    assert is_whole(db, version)


def test_a_version_of_which_redis_lost_parts_is_written_again(broker: Broker, db: redis.Redis, version: Version, parts: int,
                                                             at_part: Callable[[int, Callable[[], object]], None]) -> None:
    at_part(parts - 1, lambda: db.delete(*copies(db)))
    assert broker.create_run(a_run(version), version)
    db.delete(*copies(db))
    assert is_whole(db, version)


def test_a_version_whose_last_run_is_forgotten_while_another_is_made_is_written_again(
    broker: Broker, new_broker: Callable[[str], Broker], db: redis.Redis, version: Version, at_part: Callable[[int, Callable[[], object]], None],
) -> None:
    other, run = new_broker("another"), a_run(version, run_id="other")

    def come_and_go() -> None:
        other.create_run(run, version)
        other.cancel_run(run.key, "me")
        other.forget_run(run.key)

    at_part(2, come_and_go)
    assert broker.create_run(a_run(version), version)
    assert is_whole(db, version)
    assert len(play(broker)) == 10


def test_a_redis_that_keeps_losing_what_is_written_is_told(broker: Broker, db: redis.Redis, version: Version, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(creation, "write_version", lambda *_: ("gone", 1))
    with pytest.raises(BrokerError, match="has lost what was written of the version of d, 3 times"):
        broker.create_run(a_run(version), version)
    assert broker.all_runs() == []


def test_a_version_goes_with_its_last_run(broker: Broker, db: redis.Redis, version: Version) -> None:
    first, second = a_run(version), a_run(version, run_id="other")
    for run in (first, second):
        broker.create_run(run, version)
        broker.cancel_run(run.key, "me")
    broker.forget_run(first.key)
    assert is_whole(db, version)
    broker.forget_run(second.key)
    assert list(db.scan_iter(f"{keys.VERSION}*")) == []


def test_a_long_text_is_a_part_of_its_own() -> None:
    long = "x" * creation.SIZE
    assert [len(part) for part in creation._parts(iter([("json", long), ("a", "1"), ("b", "2"), ("c", long), ("d", "3")]))] == [2, 6, 2]
