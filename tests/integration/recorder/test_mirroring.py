"""Variables and Connections in Redis are those of SQL: after changes, after a loss of Redis, and without any key."""

from __future__ import annotations

import threading

import pytest
import redis

from rqflow.broker.broker import Broker
from rqflow.broker.epochs import Epochs
from rqflow.broker.mirror import Mirror
from rqflow.recorder import mirroring
from rqflow.scheduler.epoch import EpochKeeper
from rqflow.settings import Settings
from rqflow.store import connections, variables
from rqflow.store.engine import Engine, run_in_transaction


@pytest.fixture
def broker(db: redis.Redis, tmp_path) -> Broker:  # type: ignore[no-untyped-def]
    return Broker(db, Settings(home=tmp_path))


def put(engine: Engine, key: str, value: str) -> None:
    run_in_transaction(engine, lambda connection: variables.put(connection, key, value, secret_key="k"))


def names(db: redis.Redis) -> dict[str, str]:
    found = Mirror(db).read()
    assert found
    return {name: entry["value"] for name, entry in found.entries.get("VAR", {}).items()}


def test_all_that_is_stored_is_mirrored_as_it_is_stored(broker: Broker, engine: Engine, db: redis.Redis) -> None:
    put(engine, "a", "sealed")
    run_in_transaction(engine, lambda connection: connections.put(connection, "lab", {"conn_type": "mysql", "port": 1, "password": "p"}, secret_key="k"))
    mirroring.send(broker, engine)
    found = Mirror(db).read()
    assert found
    assert found.entries["VAR"] == {"a": {"key": "k", "value": "sealed", "is_secret": False}}
    assert found.entries["CONN"]["lab"] == {"key": "k", "conn_type": "mysql", "host": "", "schema": "", "login": "", "password": "p", "port": 1,
                                           "extra": "", "description": ""}
    assert Mirror(db).read(found.generation) is None
    run_in_transaction(engine, lambda connection: (variables.remove(connection, ["a"]), connections.remove(connection, ["lab"])))
    mirroring.send(broker, engine)
    changed = Mirror(db).read(found.generation)
    assert changed
    assert changed.entries == {}


def test_a_change_that_did_not_reach_redis_is_sent_later(broker: Broker, engine: Engine, db: redis.Redis) -> None:
    assert mirroring.send_if_changed(broker, engine)
    assert not mirroring.send_if_changed(broker, engine)
    put(engine, "a", "1")
    assert mirroring.send_if_changed(broker, engine)
    assert not mirroring.send_if_changed(broker, engine)
    put(engine, "a", "2")
    assert mirroring.send_if_changed(broker, engine)
    assert names(db) == {"a": "2"}
    db.flushall()
    assert mirroring.send_if_changed(broker, engine)
    assert names(db) == {"a": "2"}


def test_r11_a_wiped_redis_has_them_again_before_anybody_works(broker: Broker, engine: Engine, db: redis.Redis) -> None:
    """Reliability 11: the epoch that begins brings them back from SQL, and needs no key for it."""
    put(engine, "a", "sealed")
    db.flushall()
    EpochKeeper(broker, engine).believe()
    assert Epochs(db).believed() is not None
    assert names(db) == {"a": "sealed"}


def test_of_two_that_send_at_once_none_undoes_the_other(broker: Broker, engine: Engine, db: redis.Redis, redis_url: str) -> None:
    """Who looked at SQL before the other's change, and writes after it, looks again."""
    looked, go_on = threading.Event(), threading.Event()
    looks: list[str] = []

    def look() -> tuple[str, mirroring.Entries]:
        with engine.connect() as connection:
            found = mirroring.stored(connection)
        looks.append(",".join(found["VAR"]))
        if len(looks) == 1:
            looked.set()
            assert go_on.wait(10)
        return "s", found

    with redis.Redis.from_url(redis_url) as other:
        slow = threading.Thread(target=Mirror(other).write, args=(look,))
        slow.start()
        assert looked.wait(10)
        put(engine, "new", "1")
        mirroring.send(broker, engine)
        go_on.set()
        slow.join(10)
    assert looks == ["", "new"]
    assert names(db) == {"new": "1"}
