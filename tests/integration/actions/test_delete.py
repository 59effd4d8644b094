"""Deleting DAGs and runs: nothing of them starts, what runs is stopped, and nothing is left, wherever it was broken off."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import delete as sql_delete
from sqlalchemy import event, func, select

from rqflow import clock
from rqflow.actions import delete, submit
from rqflow.broker import keys
from rqflow.broker.broker import Broker
from rqflow.exceptions import Conflict, DagNotFound
from rqflow.recorder.logpath import log_path
from rqflow.settings import Logs, Settings
from rqflow.states import RunState, TaskState
from rqflow.store import dags, deletions, events, schedules
from rqflow.store.engine import Engine, open_engine, reading, transaction
from rqflow.store.runs import RunRecord
from rqflow.store.tables import dag_run, deletion, metadata
from tests.epoch import open_epoch
from tests.integration.actions.hub import Hub
from tests.integration.broker import playing
from tests.unit.builders import a_task, a_version

only_sqlite = pytest.mark.parametrize("database", ["sqlite"])
#: One task after another, one that waits for its retry, and one that waits for a pool.
BUSY = a_version({"a": [], "b": ["a"], "again": [], "full": []}, dag_id="busy", each={"retries": 1, "retry_delay": 3600.0},
                 specs=[a_task("full", pool="small")], max_active_tasks=2)
OTHER = a_version(dag_id="other", specs=[a_task("full", pool="small")])


def a_log(hub: Hub, run: RunRecord, task_id: str = "a") -> Path:
    """A log of a try in the archive."""
    assert run.logical_date
    path = Path(hub.settings.logs.folder) / log_path(run.dag_id, task_id, run.logical_date, 1, run_key=run.run_key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("hello\n")
    return path


def rows(engine: Engine) -> dict[str, int]:
    """How many rows tell of the DAG busy, what people did and the tombstones aside."""
    found = {}
    with reading(engine) as connection:
        for table in metadata.sorted_tables:
            if "dag_id" in table.c and table.name != "deletion":
                which = table.c.dag_id == "busy"
                which &= table.c.kind != "audit" if "kind" in table.c else True
                found[table.name] = connection.execute(select(func.count()).select_from(table).where(which)).scalar_one()
    return {name: count for name, count in found.items() if count}


def in_redis(db: redis.Redis) -> list[str]:
    """Keys and members in Redis that are of runs, jobs and limits."""
    names = sorted(key.decode() for key in db.scan_iter())
    kept = {keys.EPOCH, keys.EVENTS, keys.SEQUENCE, keys.WAKE, keys.POOLS, keys.MACHINES, keys.ADMITTED, keys.RQ_QUEUES}
    return [name for name in names if name not in kept and not name.startswith((keys.REPLY, keys.DOOMED, keys.BELL))]


def busy(hub: Hub) -> tuple[RunRecord, list[Any]]:
    """A run of BUSY with a task that runs, one that waits for its retry, one for its pool; and what is claimed."""
    hub.broker.set_pool("small", 0)
    run = hub.start(BUSY)
    first = playing.claim(hub.broker)
    again = next(one for one in first if one.task_id == "again")
    playing.tell(hub.broker, playing.end(again, TaskState.UP_FOR_RETRY, retry_in=3600.0))
    hub.record()
    assert hub.states(run) == {"a": "running", "again": "up_for_retry", "full": "parked", "b": "pending"}
    return run, [one for one in first if one is not again]


def remover(hub: Hub, *, patience: timedelta | None = None) -> delete.Remover:
    made = delete.Remover(hub.broker, hub.engine, hub.settings)
    if patience is not None:
        made._patience = patience
    return made


def test_r67_a_deleted_dag_is_gone_with_all_that_it_had_and_comes_back_by_submit_alone(hub: Hub) -> None:
    run, (held,) = busy(hub)
    log = a_log(hub, run)
    other = hub.start(OTHER)
    delete.delete_dag(hub.broker, hub.engine, "busy", by="ann")
    beat = hub.broker.beat({held.execution_id: (run.run_key, held.index, 1)})
    assert beat.cancel == (held.execution_id,), "what runs is stopped"
    assert playing.claim(hub.broker) == [], "and nothing else of it starts"
    assert remover(hub).step() == 2, "its end is waited for"
    playing.tell(hub.broker, playing.end(held, TaskState.CANCELLED))
    assert remover(hub).step() == 0
    hub.record()
    assert rows(hub.engine) == {}
    assert not log.exists()
    assert not log.parents[2].exists()
    assert hub.states(other) == {"full": "parked"}, "another DAG has lost nothing"
    assert not any(run.run_key in name or BUSY.sha in name for name in in_redis(hub.db))
    with reading(hub.engine) as connection:
        assert deletions.is_deleted(connection, "busy")
        assert [(one.event, one.who) for one in events.search(connection, events.EventFilter(dag_id="busy"), limit=1)] == [("dag_deleted", "ann")]
        assert "busy" not in schedules.upcoming(connection)
    with pytest.raises(Conflict, match="busy was deleted"):
        submit.register(hub.broker, hub.engine, [BUSY])
    submit.register(hub.broker, hub.engine, [BUSY], restores=True)
    with reading(hub.engine) as connection:
        assert dags.find(connection, "busy").is_active
    assert hub.states(hub.start(BUSY)) == {"a": "queued", "again": "queued", "full": "queued", "b": "pending"}


@only_sqlite
def test_slots_of_a_deleted_run_go_to_those_who_wait(hub: Hub) -> None:
    hub.broker.set_pool("small", 1)
    first, second = hub.start(OTHER), hub.start(OTHER, day=1)
    held, = playing.claim(hub.broker)
    assert hub.states(second) == {"full": "parked"}
    delete.delete_run(hub.broker, hub.engine, first, by="ann")
    assert remover(hub, patience=timedelta()).step() == 0
    assert hub.states(second) == {"full": "queued"}
    assert not hub.broker.run_exists(first.run_key)
    assert hub.broker.beat({held.execution_id: (first.run_key, held.index, 1)}).given_up == (held.execution_id,), \
        "its worker ends it when it is heard of"


@only_sqlite
def test_runs_that_waited_for_a_deleted_one_go_on(hub: Hub) -> None:
    strict = a_version(dag_id="strict", each={"depends_on_past": True})
    first, second = hub.start(strict), hub.start(strict, day=1)
    narrow = a_version(dag_id="narrow", max_active_runs=1)
    runs_now, waits = hub.start(narrow), hub.start(narrow, day=1)
    assert len(playing.claim(hub.broker)) == 2
    assert (hub.states(second), hub.broker.run_status(waits.run_key).state) == ({"a": "parked"}, RunState.QUEUED)
    for run in (first, runs_now):
        delete.delete_run(hub.broker, hub.engine, run, by="ann")
    assert remover(hub, patience=timedelta()).step() == 0
    assert (hub.states(second), hub.states(waits)) == ({"a": "queued"}, {"a": "queued"})


@only_sqlite
def test_a_late_result_of_a_deleted_run_is_dropped_with_a_line(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    run, (held,) = busy(hub)
    delete.delete_dag(hub.broker, hub.engine, "busy", by="ann")
    remover(hub, patience=timedelta()).step()
    with caplog.at_level(logging.WARNING):
        assert playing.tell(hub.broker, playing.end(held, TaskState.SUCCESS, dag_id="busy", run_id=run.run_id, task_id="a")) == ("stale",)
        hub.record()
    assert f"dropped: run {run.run_id} of busy was deleted, and a result of its task a comes too late" in caplog.text
    assert rows(hub.engine) == {}


@only_sqlite
def test_a_run_is_deleted_alone_and_may_be_started_again_under_its_name(hub: Hub) -> None:
    run, kept = hub.start(OTHER, run_id="r"), hub.start(OTHER, day=1, run_id="kept")
    log, other_log = a_log(hub, run), a_log(hub, kept)
    delete.delete_run(hub.broker, hub.engine, run, by="ann")
    with pytest.raises(Conflict, match="run r of other is being deleted"):
        hub.start(OTHER, run_id="r")
    assert remover(hub).step() == 0
    assert (log.exists(), other_log.exists()) == (False, True)
    assert hub.states(hub.start(OTHER, run_id="r")) == {"full": "queued"}


@only_sqlite
def test_logs_stay_when_that_is_asked_for(hub: Hub) -> None:
    run = hub.start(OTHER)
    log = a_log(hub, run)
    delete.delete_dag(hub.broker, hub.engine, "other", by="ann", keeps_logs=True)
    assert remover(hub).step() == 0
    assert log.exists()


@only_sqlite
def test_a_run_that_redis_has_again_is_removed_again(hub: Hub) -> None:
    run = hub.start(OTHER)
    before = {key: hub.db.dump(key) for key in hub.db.scan_iter()}
    delete.delete_run(hub.broker, hub.engine, run, by="ann")
    remover(hub).step()
    hub.db.flushall()
    for key, value in before.items():
        hub.db.restore(key, 0, value)
    assert hub.broker.run_exists(run.run_key)
    assert remover(hub).step() == 0
    assert not hub.broker.run_exists(run.run_key)


@only_sqlite
def test_redis_that_lost_its_data_gets_no_deleted_run_from_the_history(hub: Hub) -> None:
    run, _ = busy(hub)
    delete.delete_run(hub.broker, hub.engine, run, by="ann")
    hub.lose_everything()
    assert not hub.broker.run_exists(run.run_key)
    assert remover(hub).step() == 0


@only_sqlite
def test_a_start_that_was_held_up_begins_no_deleted_run(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Broker, "create_run", lambda *_, **__: False)
    run = hub.start(OTHER)
    monkeypatch.undo()
    delete.delete_run(hub.broker, hub.engine, run, by="ann")
    info = run.info
    assert info
    assert not hub.broker.create_run(info, OTHER)
    assert in_redis(hub.db) == [keys.BURIED + run.run_key]


def test_a_run_that_begins_in_the_moment_of_the_deletion_goes_too(hub: Hub) -> None:
    run = hub.start(OTHER)
    delete.delete_dag(hub.broker, hub.engine, "other", by="ann")
    with transaction(hub.engine) as connection:
        connection.execute(sql_delete(deletion).where(deletion.c.kind == deletions.RUN))
    hub.db.delete(keys.BURIED + run.run_key)
    assert remover(hub).step() == 1, "it is found when the DAG's turn comes"
    assert remover(hub).step() == 0
    with reading(hub.engine) as connection:
        assert connection.execute(select(func.count()).select_from(dag_run)).scalar() == 0
    assert not hub.broker.run_exists(run.run_key)


@only_sqlite
def test_what_was_on_its_way_goes_in_a_second_removal(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    run = hub.start(OTHER)
    delete.delete_dag(hub.broker, hub.engine, "other", by="ann")
    remover(hub).step()
    log = a_log(hub, run)
    remover(hub).step()
    assert log.exists(), "it comes while nobody looks"
    monkeypatch.setattr(delete, "SETTLE", timedelta())
    remover(hub).step()
    assert not log.exists()
    with reading(hub.engine) as connection:
        assert deletions.to_do(connection, clock.utcnow() + timedelta(days=1)) == []


@only_sqlite
def test_an_unknown_dag_is_not_deleted(hub: Hub) -> None:
    with pytest.raises(DagNotFound):
        delete.delete_dag(hub.broker, hub.engine, "nope", by="ann")


@pytest.mark.timeout(240)
def test_a_removal_killed_before_any_of_its_calls_goes_on_to_its_end(redis_url: str, tmp_path: Path, sqlite_template: Path) -> None:
    killed = list(itertools.takewhile(lambda number: go_through(number, redis_url, tmp_path, sqlite_template), itertools.count(1, 4)))
    assert len(killed) > 5


def go_through(number: int, redis_url: str, folder: Path, template: Path) -> bool:
    """Delete a DAG in a world of its own by a process that dies at that call, then by another one; tell whether the first came to it."""
    home = folder / f"home{number}"
    home.mkdir()
    url = f"sqlite:///{home / 'rqflow.db'}"
    shutil.copy(template, home / "rqflow.db")
    with redis.Redis.from_url(redis_url) as db:
        db.flushall()
        open_epoch(db)
        hub = Hub(db, open_engine(url), home)
        run, _ = busy(hub)
        ended = hub.start(a_version(dag_id="busy"), day=1)
        playing.play(hub.broker)
        hub.record()
        log = a_log(hub, run)
        delete.delete_dag(hub.broker, hub.engine, "busy", by="ann")
        hub.engine.dispose()
        pid = os.fork()
        if pid == 0:
            removed(number, redis_url, url, home)
        was_killed = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        assert remover(hub, patience=timedelta()).step() == 0
        hub.record()
        assert rows(hub.engine) == {}
        assert not log.parents[2].exists()
        assert in_redis(db) == [], (number, ended)
        hub.engine.dispose()
    return was_killed


def removed(number: int, redis_url: str, url: str, home: Path) -> None:
    """Be a process that removes what is deleted, and is killed before that call to Redis or commit."""
    calls = itertools.count(1)

    def count(*_: object) -> None:
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    send = redis.connection.AbstractConnection.send_packed_command

    def counted(self: Any, *args: Any, **given: Any) -> None:
        count()
        send(self, *args, **given)

    engine = open_engine(url)
    settings = Settings(home=home, logs=Logs(folder=str(home / "logs")))
    own = delete.Remover(Broker(redis.Redis.from_url(redis_url), settings), engine, settings)
    own._patience = timedelta()
    redis.connection.AbstractConnection.send_packed_command = counted  # type: ignore[method-assign]
    event.listen(engine, "commit", count)
    try:
        own.step()
    finally:
        os._exit(0)
