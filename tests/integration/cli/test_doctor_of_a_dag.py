"""rqflow doctor DAG [TASK]: the questions that people ask, with a true answer to each and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import redis

from rqflow.broker import control
from rqflow.broker.broker import Broker
from rqflow.settings import Settings
from rqflow.states import TaskState
from rqflow.store.engine import open_engine
from tests.integration.actions.hub import Hub
from tests.integration.broker import playing
from tests.integration.cli.conftest import Rqflow
from tests.unit.builders import a_task, a_version

A_SCHEDULE = {"schedule": "@daily", "start_date": "2026-01-01T00:00:00+00:00"}


@pytest.fixture
def hub(rqflow: Rqflow, db: redis.Redis, redis_url: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The hub of a home whose Redis and SQLite the commands use."""
    url = f"sqlite:///{tmp_path / 'rqflow.db'}"
    monkeypatch.setenv("RQFLOW__REDIS__URL", redis_url)
    monkeypatch.setenv("RQFLOW__DATABASE__URL", url)
    rqflow("db", "upgrade")
    engine = open_engine(url)
    yield Hub(db, engine, home)
    engine.dispose()


@pytest.fixture
def asked(rqflow: Rqflow) -> Any:
    """Call doctor, and give {beginning of the question: answer}."""
    def call(*words: str, code: int) -> dict[str, dict[str, str]]:
        done = rqflow("doctor", *words, "-o", "json")
        assert done.code == code, done.out + done.err
        return {one["question"].partition("(")[0].partition(",")[0].rstrip("? "): one for one in json.loads(done.out)}

    return call


def a_worker(db: redis.Redis, queues: str = "default", **fields: str) -> None:
    """A worker that lives, as RQ lists it."""
    db.sadd("rq:workers", "rq:worker:w9")
    db.hset("rq:worker:w9", mapping={"hostname": "here", "pid": "7", "queues": queues, "state": "idle", "slots": "4",
                                     "last_heartbeat": "2026-11-29T12:00:00.000000Z", **fields})


def test_a_dag_that_is_not_known_or_was_deleted_is_said_with_what_brings_it(asked: Any, hub: Hub, rqflow: Rqflow) -> None:
    hub.start(a_version(dag_id="align"))
    found = asked("aligm", code=1)["Is the DAG known"]
    assert "align" in found["answer"]
    assert "rqflow submit FILE" in found["remedy"]
    assert rqflow("dag", "delete", "align", "--yes", "--no-wait").code in {0, 2}
    rqflow("dag", "delete", "align", "--yes")
    assert "no" in asked("align", code=1)["Is the DAG known"]["answer"]


def test_a_paused_dag_without_a_scheduler_whose_start_date_is_to_come(asked: Any, hub: Hub, rqflow: Rqflow) -> None:
    hub.start(a_version(dag_id="later", schedule="@daily", start_date="2999-01-01T00:00:00+00:00", max_active_runs=1))
    hub.record()
    rqflow("dag", "pause", "later")
    found = asked("later", code=1)
    assert found["Is it paused"]["remedy"] == "rqflow dag unpause later"
    assert (found["Has its start_date come"]["verdict"], "2999-01-01" in found["Has its start_date come"]["answer"]) == ("problem", True)
    assert "none leads" in found["Does a scheduler run"]["answer"]
    assert "1 of 1 are active" in found["Is there room for another run"]["answer"]
    assert "only the last one has a run" in found["Are past dates made up for"]["answer"]
    assert "running" in found["How did its last runs end"]["answer"]


def test_a_dag_that_is_well_has_no_problem(asked: Any, hub: Hub, db: redis.Redis) -> None:
    run = hub.start(a_version({"a": [], "b": ["a"]}, dag_id="well", specs=[a_task("b", retries=2, retry_delay=5.0, depends_on_past=True)]))
    playing.play(hub.broker)
    hub.record()
    a_worker(db)
    db.set("rqflow:leader", "somebody")
    found = asked("well", "b", code=0)
    assert {one["verdict"] for one in found.values()} <= {"ok", "warning"}
    assert found["How did its last runs end"]["answer"] == f"{run.run_id} success"
    assert found["What must have ended before it"]["answer"] == "all_success of a"
    assert "depends_on_past" in found["Does it depend on the run before"]["answer"]
    assert found["How often is it tried"]["answer"] == "3 times, 5 s apart"
    assert "w9 (idle, 0 of 4 slots)" in found["Does a live worker serve its queue"]["answer"]
    assert "success" in found["Where is it in the newest run"]["answer"]


def test_what_a_task_lacks_is_said(asked: Any, hub: Hub, db: redis.Redis) -> None:
    hub.start(a_version(["a"], dag_id="gpu", specs=[a_task("a", queue="gpu", pool="cards", worker_labels=("a100",))]))
    found = asked("gpu", "a", code=1)
    assert found["Does a live worker serve its queue"]["remedy"] == "rqflow worker -Q gpu"
    assert found["Is there room in its pool"]["answer"] == "there is no such pool"
    a_worker(db, queues="gpu", labels="v100")
    control.pause_queue(Broker(db, Settings(home=hub.settings.home)), "gpu", "ann")
    found = asked("gpu", "a", code=1)
    assert found["Does a live worker serve its queue"]["verdict"] == "ok"
    assert "yes, by ann" in found["Is the queue paused"]["answer"]
    assert found["Has one of them its labels"]["answer"] == "none has a100"
    assert asked("gpu", "b", code=1)["Has the DAG this task"]["answer"] == "no; it has a"


def test_a_task_that_failed_shows_where_its_log_is(asked: Any, hub: Hub) -> None:
    run = hub.start(a_version(["a"], dag_id="bad"))
    held, = playing.claim(hub.broker)
    playing.tell(hub.broker, playing.end(held, TaskState.FAILED))
    hub.record()
    found = asked("bad", "a", code=1)
    assert found["How did its last runs end"]["remedy"] == f"rqflow run logs {run.run_id} --failed"
    where = found["Where is it in the newest run"]
    assert (where["verdict"], where["remedy"]) == ("problem", f"rqflow task logs {run.run_id} a")
