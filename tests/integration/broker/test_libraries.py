"""The step that each task needs is a function of a library where Redis has them; it does what the script does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from rqflow.broker import sources
from rqflow.broker.broker import Broker
from rqflow.broker.sources import forget_libraries
from rqflow.settings import Settings
from tests.epoch import open_epoch
from tests.integration.broker.playing import claim, end, play, tell
from tests.unit.builders import a_run, a_version

OLD = "#!lua name=rqflow_turn_old\nredis.register_function('rqflow_turn_old', function() return 1 end)"
FOREIGN = "#!lua name=theirs\nredis.register_function('theirs', function() return 1 end)"


def libraries(db: redis.Redis) -> set[str]:
    """The libraries that Redis has."""
    return {entry[entry.index(b"library_name") + 1].decode() for entry in db.function_list()}


def calls(db: redis.Redis, command: str) -> int:
    return int(db.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])


@pytest.fixture(autouse=True)
def without_libraries(db: redis.Redis) -> Iterator[None]:
    """A Redis that has no library before and after."""
    db.function_flush()
    yield
    db.function_flush()


def begin(broker: Broker, tasks: list[str]) -> None:
    version = a_version(tasks)
    broker.create_run(a_run(version), version)


def test_turn_is_loaded_once_and_called_as_a_function(broker: Broker, db: redis.Redis) -> None:
    begin(broker, ["a", "b", "c"])
    db.config_resetstat()
    assert len([claim(broker, wanted=1) for _ in range(3)]) == 3
    # The first call finds it missing.
    assert (calls(db, "function|load"), calls(db, "fcall")) == (1, 4)
    assert libraries(db) == {sources.library("turn")[0]}


def test_library_that_is_gone_is_loaded_again(broker: Broker, db: redis.Redis) -> None:
    begin(broker, ["a", "b"])
    first, = claim(broker, wanted=1)
    db.function_flush()
    assert tell(broker, end(first)) == ("ok",)
    assert play(broker) == ["b"]


def test_user_who_may_not_call_functions_has_a_script(db: redis.Redis, home: Path) -> None:
    db.acl_setuser("plain", enabled=True, nopass=True, categories=["+@all"], commands=["-fcall", "-function"], keys=["*"], channels=["*"])
    try:
        plain = redis.Redis(connection_pool=redis.ConnectionPool(connection_class=db.connection_pool.connection_class,
                                                                 **{**db.connection_pool.connection_kwargs, "username": "plain", "password": "x"}))
        broker = Broker(plain, Settings(home=home), caller="w1")
        begin(broker, ["a", "b"])
        assert sorted(play(broker)) == ["a", "b"]
        assert libraries(db) == set()
        forget_libraries(plain)
        plain.close()
    finally:
        db.acl_deluser("plain")


def test_libraries_of_other_releases_are_forgotten_and_those_of_others_left(broker: Broker, db: redis.Redis) -> None:
    begin(broker, ["a"])
    play(broker)
    db.function_load(OLD)
    db.function_load(FOREIGN)
    forget_libraries(db)
    assert libraries(db) == {sources.library("turn")[0], "theirs"}


def test_what_is_remembered_of_a_version_holds_when_redis_was_emptied_and_filled_again(broker: Broker, db: redis.Redis) -> None:
    chain = {"a": [], "b": ["a"], "c": ["b"]}
    version = a_version(chain)
    for number in range(3):
        broker.create_run(a_run(version, run_id=f"r{number}"), version)
        assert play(broker) == ["a", "b", "c"]
        if number == 1:
            db.flushall()
            open_epoch(db)
    assert libraries(db) == {sources.library("turn")[0]}
