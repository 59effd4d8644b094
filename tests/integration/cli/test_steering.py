"""Queues and workers steered at the command line: each deed comes into the audit log, also when the database was away, and from where it is not reached."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis

from rqflow.broker import control, keys
from rqflow.broker.broker import Broker
from rqflow.broker.events import EventStream
from rqflow.cli.app import who
from rqflow.deploy.services import open_database
from rqflow.recorder.recorder import Recorder
from rqflow.settings import Settings, load
from tests.integration.cli.conftest import Rqflow
from tests.integration.web.rooms import a_worker
from tests.profile import PATIENCE


def test_what_is_steered_while_the_database_is_away_is_in_the_audit_log_afterwards(
    rqflow: Rqflow, db: redis.Redis, redis_url: str, home: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker, name = Broker(db, Settings(home=home), caller="w1"), a_worker(db)
    monkeypatch.setenv("RQFLOW__REDIS__URL", redis_url)
    with monkeypatch.context() as away:
        away.setenv("RQFLOW__DATABASE__URL", "mysql://root@127.0.0.1:1/none")
        for words in (("worker", "pause", name), ("worker", "resume", name), ("worker", "resume", name), ("queue", "pause", "default")):
            done = rqflow(*words)
            assert done.code == 0, done
        assert control.paused_queues(broker)["default"].by == who()
        with db.pubsub() as heard:
            heard.subscribe(f"{keys.RQ}pubsub:{name}")
            assert heard.get_message(timeout=PATIENCE)
            assert rqflow("worker", "drain", name).code == rqflow("worker", "stop", name, "--now").code == rqflow("worker", "stop", name).code == 0
        assert rqflow("worker", "stop", name).code == 5, "nobody listens"
        assert rqflow("queue", "resume", "default").code == rqflow("queue", "empty", "default", "--yes").code == 0
    assert json.loads(rqflow("audit", "list", "-o", "json").out) == []
    with open_database(load(home=home)) as engine:
        assert Recorder(EventStream(db), engine, "r").step(block_ms=0)
    deeds = json.loads(rqflow("audit", "list", "-o", "json").out)
    assert {one["who"] for one in deeds} == {who()}
    assert [(one["event"], one["detail"].get("how")) for one in reversed(deeds)] == [
        ("worker_paused", None), ("worker_resumed", None), ("queue_paused", None), ("worker_stopped", "drain"), ("worker_stopped", "kill"),
        ("worker_stopped", "as its --on-stop says"), ("queue_resumed", None), ("queue_emptied", None)]
