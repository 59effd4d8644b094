"""Commands that meet processes of other releases in Redis."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis

from rqflow.broker import keys, protocol
from tests.integration.cli.conftest import Rqflow


@pytest.fixture(autouse=True)
def server(db: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQFLOW__REDIS__URL", redis_url)


def a_live_worker(db: redis.Redis, number: int, version: str) -> None:
    """A worker of another release, and the number that it left in Redis."""
    key = f"{keys.RQ_WORKER}hpc7.abc"
    db.sadd(keys.RQ_WORKERS, key)
    db.hset(key, mapping={"hostname": "hpc7", "pid": "4711", "rqflow": version, "protocol": str(number)})
    db.set(keys.PROTOCOL, number)


@pytest.mark.parametrize("words", [("worker", "--burst"), ("scheduler",), ("scheduler", "--once"), ("run", "list")], ids=" ".join)
def test_a_release_that_is_too_old_says_what_runs_where_and_changes_nothing(rqflow: Rqflow, db: redis.Redis, words: tuple[str, ...]) -> None:
    a_live_worker(db, protocol.PROTOCOL + 2, "77.1")
    before = db.keys()
    result = rqflow(*words)
    assert result.code == 5
    assert f"this rqflow {protocol.release()} (protocol {protocol.PROTOCOL}) is too old to work with worker hpc7.abc on hpc7" in result.err
    assert "Upgrade rqflow here to 77.1" in result.err
    assert sorted(db.keys()) == sorted(before)


def test_the_release_before_and_the_one_after_work_together(rqflow: Rqflow, db: redis.Redis) -> None:
    for number in (protocol.PROTOCOL - 1, protocol.PROTOCOL + 1):
        a_live_worker(db, number, "77.1")
        assert rqflow("scheduler", "--once").code == 0
        assert rqflow("worker", "--burst").code == 0
    assert int(db.get(keys.PROTOCOL)) == protocol.PROTOCOL + 1


def test_database_is_not_upgraded_while_a_newer_process_is_live(rqflow: Rqflow, db: redis.Redis, home: Path) -> None:
    a_live_worker(db, protocol.PROTOCOL, "77.1")
    result = rqflow("db", "upgrade")
    assert (result.code, result.out) == (5, "")
    assert "while a newer one is live: worker hpc7.abc on hpc7 (pid 4711, rqflow 77.1" in result.err
    assert not list(home.rglob("rqflow.db"))
    db.flushall()
    assert rqflow("db", "upgrade").code == 0


def test_upgrade_without_redis_says_what_nobody_knows(rqflow: Rqflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RQFLOW__REDIS__URL", f"unix://{tmp_path}/absent.sock")
    result = rqflow("db", "upgrade")
    assert result.code == 0
    assert "nobody knows whether" in result.err


def test_info_shows_what_is_live(rqflow: Rqflow, db: redis.Redis) -> None:
    a_live_worker(db, protocol.PROTOCOL + 2, "77.1")
    told = json.loads(rqflow("info", "-o", "json").out)
    assert told["processes"] == [{"kind": "worker", "name": "hpc7.abc", "host": "hpc7", "pid": 4711, "version": "77.1",
                                  "protocol": protocol.PROTOCOL + 2}]
    assert rqflow("info").out.splitlines()[-1].split() == ["hpc7.abc", "worker", "hpc7", "4711", "77.1", str(protocol.PROTOCOL + 2)]
