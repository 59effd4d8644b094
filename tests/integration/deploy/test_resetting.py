"""`db reset`: all of a home goes, nothing of others, and nothing while something runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import redis

from rqflow.deploy import resetting
from rqflow.exceptions import Conflict
from rqflow.recorder.logpath import log_path
from rqflow.settings import Database, RedisSettings, Settings, WorkerSettings
from rqflow.states import TaskState
from rqflow.store import dags, runs, schema
from rqflow.store.engine import Engine, reading
from tests.integration.actions.hub import Hub
from tests.integration.broker import playing
from tests.unit.builders import a_version

pytestmark = pytest.mark.parametrize("database", ["sqlite"])


@pytest.fixture
def hub(db: redis.Redis, engine: Engine, home: Path) -> Hub:
    """A home with an ended run and a log, and jobs of others in its Redis."""
    made = Hub(db, engine, home)
    run = made.start(a_version({"a": [], "b": ["a"]}))
    playing.play(made.broker)
    made.record()
    assert run.logical_date
    log = Path(made.settings.logs.folder) / log_path("d", "a", run.logical_date, 1, run_key=run.run_key)
    log.parent.mkdir(parents=True)
    log.write_text("hello")
    db.hset("rq:job:foreign", "status", "queued")
    db.rpush("rq:queue:foreign", "foreign")
    return made


@pytest.fixture
def settings(hub: Hub, redis_url: str, engine: Engine, home: Path) -> Settings:
    """The settings of that home."""
    (home / "work").mkdir()
    (home / "work" / "spool").write_text("an end")
    return replace(hub.settings, redis=RedisSettings(url=redis_url), database=Database(url=str(engine.url)),
                   worker=WorkerSettings(work_dir=str(home / "work")))


def test_all_of_a_home_goes_and_nothing_of_others(hub: Hub, settings: Settings, home: Path) -> None:
    waiting = hub.start(a_version(dag_id="waits", schedule="@daily", start_date="2026-01-01T00:00:00+00:00"))
    assert hub.states(waiting) == {"a": "queued"}
    resetting.reset(settings, by="ann")
    assert sorted(key.decode() for key in hub.db.scan_iter()) == ["rq:job:foreign", "rq:queue:foreign", "rq:queues"]
    assert schema.current(hub.engine) == schema.head()
    with reading(hub.engine) as connection:
        assert (dags.search(connection), runs.search(connection)) == ([], [])
    assert list((home / "logs").rglob("*")) == []
    assert not (home / "work" / "spool").exists()
    resetting.reset(settings, by="ann")


def test_nothing_is_reset_while_a_task_or_a_process_runs(hub: Hub, settings: Settings) -> None:
    run = hub.start(a_version(dag_id="busy"), run_id="r")
    held, = playing.claim(hub.broker)
    with pytest.raises(Conflict, match="while something runs: task a of run r of busy on w1"):
        resetting.reset(settings, by="ann")
    playing.tell(hub.broker, playing.end(held, TaskState.SUCCESS))
    hub.db.sadd("rq:workers", "rq:worker:w9")
    hub.db.hset("rq:worker:w9", mapping={"hostname": "elsewhere", "pid": "7", "queues": "default", "state": "idle"})
    with pytest.raises(Conflict, match=r"worker w9 on elsewhere \(pid 7\)"):
        resetting.reset(settings, by="ann")
    assert hub.states(run) == {"a": "success"}
    with reading(hub.engine) as connection:
        assert len(runs.search(connection)) == 2, "nothing was removed"
