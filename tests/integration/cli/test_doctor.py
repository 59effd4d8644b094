"""What may be wrong with an installation, and whether its parts live, as the commands tell it."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from rqflow import clock, settings
from rqflow.broker import keys
from rqflow.deploy import doctor
from rqflow.deploy.doctor import Verdict
from rqflow.deploy.services import open_services
from rqflow.settings import load
from rqflow.store import dag_files
from rqflow.store.dag_files import DagFileRecord
from rqflow.store.engine import run_in_transaction
from tests.integration.cli.conftest import Rqflow
from tests.mailserver import mail_server


@pytest.fixture
def found(rqflow: Rqflow) -> Any:
    """Call doctor, and give {check: finding}."""
    def examine(code: int = 0) -> dict[str, dict[str, str]]:
        done = rqflow("doctor", "-o", "json")
        assert done.code == code, done.out + done.err
        return {one["check"]: one for one in json.loads(done.out)}

    return examine


def test_a_new_home_has_no_problem_and_nothing_is_started_or_made(found: Any, home: Path) -> None:
    before = sorted(home.rglob("*"))
    seen = found()
    assert (seen["database"]["verdict"], seen["redis"]["verdict"]) == ("warning", "warning")
    assert "not there yet" in seen["database"]["detail"]
    assert {one["verdict"] for one in seen.values()} == {"ok", "warning"}
    assert sorted(home.rglob("*")) == before


def test_each_finding_that_is_not_well_says_what_to_do(found: Any, db: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQFLOW__REDIS__URL", redis_url)
    db.zadd(keys.UNREACHABLE, {"e": 1})
    seen = found()
    assert "not heard of" in seen["unreachable tasks"]["detail"]
    assert "no retry comes back" in seen["scheduler"]["detail"]
    assert "no task runs" in seen["workers"]["detail"]
    assert all(one["remedy"] for one in seen.values() if one["verdict"] != "ok")


def test_a_stock_rqscheduler_on_the_same_redis_is_a_problem(found: Any, db: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQFLOW__REDIS__URL", redis_url)
    db.hset(f"{keys.RQ_SCHEDULER_INSTANCE}stranger", mapping={"birth": "now"})
    seen = found(code=1)
    assert (seen["rqscheduler"]["verdict"], "stranger" in seen["rqscheduler"]["detail"]) == ("problem", True)


def test_a_redis_that_evicts_keys_or_does_not_answer_is_a_problem(found: Any, db: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch,
                                                                  tmp_path: Path) -> None:
    monkeypatch.setenv("RQFLOW__REDIS__URL", redis_url)
    db.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert "allkeys-lru" in found(code=1)["redis"]["detail"]
    finally:
        db.config_set("maxmemory-policy", "noeviction")
    monkeypatch.setenv("RQFLOW__REDIS__URL", f"unix://{tmp_path}/none.sock")
    assert "does not answer" in found(code=1)["redis"]["detail"]


def test_secrets_that_others_may_read_are_a_problem(found: Any, home: Path) -> None:
    file = home / "rqflow.cfg"
    file.write_text("[smtp]\nsmtp_password = hunter2\n")
    file.chmod(0o644)
    seen = found(code=1)["config"]
    assert seen["remedy"] == f"chmod 600 {file}"
    assert "hunter2" not in str(seen)
    file.chmod(0o600)
    assert found()["config"]["verdict"] == "ok"


def test_files_of_the_folder_that_cannot_be_loaded_are_a_problem(found: Any, home: Path) -> None:
    record = DagFileRecord(path="bad.py", is_present=True, dag_ids=(), errors=("bad.py:3: no such thing",), inputs={}, loaded_by="", loaded_at=clock.utcnow())
    with open_services(load(home=home)) as services:
        run_in_transaction(services.engine, lambda connection: dag_files.put(connection, record))
    seen = found(code=1)["DAG files"]
    assert "bad.py:3: no such thing" in seen["detail"]
    assert seen["remedy"] == "rqflow dag list --errors"


def test_a_mail_server_is_tried_and_nothing_is_sent(found: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server(tmp_path) as server:
        for name, text in server.environ().items():
            monkeypatch.setenv(name, text)
        assert found()["mail"]["verdict"] == "ok"
        assert server.mails == []
        monkeypatch.setenv("RQFLOW__SMTP__SMTP_PASSWORD", "wrong")
        assert "refuses the login" in found(code=1)["mail"]["detail"]


def test_a_clock_that_is_off_is_told(db: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("RQFLOW__REDIS__URL", redis_url)
    real = clock.utcnow
    monkeypatch.setattr(clock, "utcnow", lambda: real() + timedelta(minutes=3))
    (seen,) = [one for one in doctor.examine(settings.load(home=home)) if one.check == "clock"]
    assert (seen.verdict, "before that of Redis" in seen.detail) == (Verdict.WARNING, True)


def test_health_tells_of_each_part_and_exits_1_when_one_asked_for_is_not_well(rqflow: Rqflow, db: redis.Redis, redis_url: str,
                                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQFLOW__REDIS__URL", redis_url)
    done = rqflow("health", "-o", "json")
    assert done.code == 1
    assert [(one["component"], one["is_healthy"]) for one in json.loads(done.out)] == [
        ("redis", True), ("db", False), ("scheduler", False), ("worker", False)]
    assert rqflow("health", "--component", "redis").code == 0
    rqflow("db", "upgrade")
    assert rqflow("health", "--component", "db", "--component", "redis").code == 0
    worker = {"birth": "1", "last_heartbeat": clock.utcnow().strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "queues": "default", "state": "idle", "pid": str(os.getpid()),
              "hostname": "h", "slots": "4", "labels": ""}
    db.hset(f"{keys.RQ_WORKER}h.d.1", mapping=worker)
    db.sadd(keys.RQ_WORKERS, f"{keys.RQ_WORKER}h.d.1")
    assert rqflow("health", "--component", "worker").code == 0
    old = clock.utcnow() - timedelta(minutes=5)
    db.hset(f"{keys.RQ_WORKER}h.d.1", "last_heartbeat", old.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    assert "none was heard of lately" in rqflow("health", "--component", "worker").out
    assert rqflow("health", "--component", "worker", "--max-age", "10m").code == 0
    assert rqflow("health", "--component", "web").code == 2


def test_a_redis_that_goes_away_while_it_is_looked_at_is_a_finding(found: Any, db: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQFLOW__REDIS__URL", redis_url)

    def gone(*_: object) -> Any:
        raise redis.exceptions.ConnectionError("gone")

    monkeypatch.setattr(doctor, "_stranger", gone)
    assert found(code=1)["redis"]["detail"] == "gone"


def test_keys_that_others_may_read_and_secrets_that_no_key_opens_are_problems(found: Any, rqflow: Rqflow, home: Path, db: redis.Redis, redis_url: str,
                                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQFLOW__REDIS__URL", redis_url)
    rqflow("var", "set", "pin", "1", "--secret")
    assert found()["secrets"]["detail"].endswith("opens the stored Variables and Connections")
    (home / "fernet.key").chmod(0o640)
    (home / "keys").mkdir()
    (home / "keys" / "tunnel").write_text("a key")
    (home / "keys" / "tunnel").chmod(0o600)
    (home / "keys" / "tunnel.pub").write_text("its public half")
    (home / "keys" / "known_hosts").write_text("hosts")
    assert f"chmod 600 {home / 'fernet.key'};" in found(code=1)["keys"]["remedy"]
    (home / "fernet.key").chmod(0o600)
    assert found()["keys"]["verdict"] == "ok"
    (home / "fernet.key").rename(home / "gone")
    lost = found(code=1)["secrets"]
    assert (lost["verdict"], "no key" in lost["detail"]) == ("problem", True)


def test_the_queues_that_are_served_are_named(found: Any, db: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQFLOW__REDIS__URL", redis_url)
    db.sadd(keys.RQ_WORKERS, f"{keys.RQ_WORKER}w")
    db.hset(f"{keys.RQ_WORKER}w", mapping={"hostname": "h", "pid": "1", "queues": "default,gpu", "state": "idle", "slots": "3"})
    assert found()["workers of queues"]["detail"] == "default: 1 worker with 3 slots; gpu: 1 worker with 3 slots"
