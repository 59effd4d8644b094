from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import make_url

from rqflow.broker import keys
from rqflow.broker.events import GROUP, Entry, EventStream
from rqflow.dag.run import run_key
from rqflow.exceptions import Conflict, StoreError
from rqflow.recorder.recorder import Recorder, open_recorder
from rqflow.states import TaskState
from rqflow.store import events as event_log
from rqflow.store import schema, tasks, xcoms
from rqflow.store.engine import Engine, open_engine, reading, transaction
from rqflow.store.events import EventFilter
from rqflow.store.tables import xcom
from tests.integration.recorder.events import a_task_event, an_end, an_xcom
from tests.waiting import until

KEY = run_key("d", "r")
SOON = timedelta(milliseconds=50)


def tell(db: redis.Redis, *events: Any) -> None:
    """Put events on the stream as one step does."""
    db.xadd(keys.EVENTS, {"e": json.dumps(events)})


def a_recorder(db: redis.Redis, engine: Engine, name: str = "a") -> Recorder:
    return Recorder(EventStream(db), engine, name, take_over_after=SOON)


def recorded(engine: Engine) -> dict[TaskState, int]:
    with reading(engine) as connection:
        return tasks.counts(connection, [KEY])[KEY]


@contextmanager
def running(*recorders: Recorder) -> Iterator[None]:
    """Run recorders in threads until the end of the block."""
    stop = threading.Event()
    threads = [threading.Thread(target=recorder.run, args=(stop,)) for recorder in recorders]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("odd", [{"e": "{"}, {"e": "\udcff".encode(errors="surrogateescape")}, {"e": "1"}, {"other": "x"}, {"e": '["text"]'}])
def test_an_entry_that_no_step_wrote_holds_up_no_other(db: redis.Redis, engine: Engine, odd: Any) -> None:
    db.xadd(keys.EVENTS, odd)
    tell(db, a_task_event("queued", 0))
    recorder = a_recorder(db, engine)
    recorder.step()
    assert recorded(engine) == {TaskState.QUEUED: 1}
    with reading(engine) as connection:
        assert len(event_log.search(connection, EventFilter(kinds=[event_log.UNREADABLE]))) == 1
    assert db.xpending(keys.EVENTS, GROUP)["pending"] == 0


def test_readers_that_are_gone_are_forgotten_unless_they_hold_entries(db: redis.Redis) -> None:
    stream = EventStream(db)
    for reader in ("gone", "holds"):
        tell(db, a_task_event("queued", 0))
        [(entry, _)] = stream.read(reader, block_ms=0)
        if reader == "gone":
            stream.acknowledge([entry])
    until(lambda: all(one["idle"] >= 50 for one in db.xinfo_consumers(keys.EVENTS, GROUP)), what="silence")
    assert stream.forget_readers(3_600_000) == 0
    assert stream.forget_readers(50) == 1
    assert [one["name"] for one in db.xinfo_consumers(keys.EVENTS, GROUP)] == [b"holds"]


def test_events_are_recorded_acknowledged_and_trimmed(db: redis.Redis, engine: Engine) -> None:
    tell(db, a_task_event("queued", 0), a_task_event("running", 1))
    tell(db, an_end("success", 2))
    recorder = a_recorder(db, engine)
    assert recorder.step() == 3
    assert recorder.step(block_ms=0) == 0
    assert recorded(engine) == {TaskState.SUCCESS: 1}
    assert recorder.recorded == 3
    recorder.stream.trim()
    assert db.xlen(keys.EVENTS) == 0


def test_stream_keeps_what_any_group_has_not_acknowledged(db: redis.Redis, engine: Engine) -> None:
    for step in range(4):
        tell(db, a_task_event("queued", step))
    first, second, *_ = (entry for entry, _ in db.xrange(keys.EVENTS))
    db.xgroup_create(keys.EVENTS, "others", id="0")
    recorder = a_recorder(db, engine)
    recorder.step()
    recorder.stream.trim()
    assert db.xlen(keys.EVENTS) == 4, "the other group has read nothing"
    db.xreadgroup("others", "gone", {keys.EVENTS: ">"}, count=2)
    db.xreadgroup("others", "lives", {keys.EVENTS: ">"})
    db.xack(keys.EVENTS, "others", first, *(entry for entry, _ in db.xrange(keys.EVENTS)[2:]))
    recorder.stream.trim()
    assert db.xrange(keys.EVENTS)[0][0] == second, "what a dead reader holds stays"
    db.xautoclaim(keys.EVENTS, "others", "lives", min_idle_time=0)
    db.xack(keys.EVENTS, "others", second)
    recorder.stream.trim()
    assert db.xlen(keys.EVENTS) == 0


def test_what_a_dead_recorder_holds_stays_until_it_is_taken_over(db: redis.Redis, engine: Engine) -> None:
    tell(db, a_task_event("queued", 0))
    EventStream(db).read("dead", block_ms=0)
    tell(db, a_task_event("running", 1))
    recorder = Recorder(EventStream(db), engine, "a", take_over_after=timedelta(hours=1))
    assert recorder.step() == 1
    recorder.stream.trim()
    assert db.xlen(keys.EVENTS) == 2
    heir = a_recorder(db, engine, "heir")
    until(lambda: heir.step(block_ms=0), what="the entry to be taken over")
    heir.stream.trim()
    assert db.xlen(keys.EVENTS) == 0


def test_more_events_than_a_transaction_holds(db: redis.Redis, engine: Engine) -> None:
    tell(db, *(a_task_event("running", 1, task=f"t{n}") for n in range(500)))
    assert a_recorder(db, engine).step() == 500
    assert recorded(engine) == {TaskState.RUNNING: 500}


def test_events_of_a_recorder_that_died_are_taken_over(db: redis.Redis, engine: Engine) -> None:
    tell(db, a_task_event("running", 1))
    assert EventStream(db).read("dead", block_ms=0)
    recorder = a_recorder(db, engine)
    until(lambda: recorder.step(block_ms=0), what="the entry to be taken over")
    assert (recorded(engine), recorder.taken_over) == ({TaskState.RUNNING: 1}, 1)
    assert recorder.stream.backlog() == 0


def test_restarted_recorder_of_the_same_name_goes_on_with_what_it_had(db: redis.Redis, engine: Engine) -> None:
    tell(db, a_task_event("running", 1))
    assert EventStream(db).read("a", block_ms=0)
    recorder = Recorder(EventStream(db), engine, "a", take_over_after=timedelta(hours=1))
    assert recorder.step(block_ms=0) == 1
    assert recorder.stream.backlog() == 0


class Forgetful(EventStream):
    """A stream whose first answer with events gets lost on its way."""

    lost = False

    def read(self, consumer: str, count: int = 200, block_ms: int = 1000) -> list[Entry]:
        entries = super().read(consumer, count, block_ms)
        if entries and not self.lost:
            self.lost = True
            raise redis.ConnectionError("connection reset by peer")
        return entries


def test_events_whose_answer_got_lost_are_recorded_next(db: redis.Redis, engine: Engine) -> None:
    recorder = Recorder(Forgetful(db), engine, "a", take_over_after=timedelta(hours=1))
    tell(db, a_task_event("running", 1))
    with pytest.raises(redis.ConnectionError):
        recorder.step()
    assert recorder.step(block_ms=0) == 1
    assert recorder.stream.backlog() == 0


def test_nothing_is_acknowledged_while_the_database_cannot_take_it(db: redis.Redis, engine: Engine) -> None:
    recorder = a_recorder(db, engine)
    tell(db, an_xcom('"before"', 1))
    with transaction(engine) as connection:
        xcom.drop(connection)
    try:
        for _ in range(2):
            with pytest.raises(Conflict, match="rqflow db upgrade"):
                recorder.step()
        tell(db, an_xcom('"later"', 1, key="k"))
        assert recorder.stream.backlog() == 2
    finally:
        with transaction(engine) as connection:
            xcom.create(connection)
    assert recorder.step() == 1
    assert recorder.step() == 1
    with reading(engine) as connection:
        assert xcoms.of_run(connection, KEY) == {"t": {"k": '"later"', "return_value": '"before"'}}
    assert recorder.stream.backlog() == 0


def test_cut_connection_is_not_noticed(db: redis.Redis, mariadb_url: str, postgres_url: str, emptied: Callable[[str], Engine]) -> None:
    for url, cut in (
        (mariadb_url, "SELECT id FROM information_schema.processlist WHERE db = 'rqflow' AND id <> connection_id()"),
        (postgres_url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'rqflow' AND pid <> pg_backend_pid()"),
    ):
        engine, other = emptied(url), open_engine(url)
        recorder = a_recorder(db, engine)
        tell(db, a_task_event("running", 1))
        recorder.step()
        with transaction(other) as connection:
            for number in connection.exec_driver_sql(cut).scalars().all():
                if url == mariadb_url:
                    connection.exec_driver_sql(f"KILL {number}")
        tell(db, an_end("success", 2))
        assert recorder.step() == 1
        assert recorded(engine)[TaskState.SUCCESS] == 1
        other.dispose()
        engine.dispose()


def test_database_that_is_away_for_a_while_misses_nothing(db: redis.Redis, postgres_url: str, emptied: Callable[[str], Engine]) -> None:
    engine = emptied(postgres_url)
    engine.dispose()
    door = Path(str(make_url(postgres_url).query["host"])) / ".s.PGSQL.5432"
    hidden = door.rename(door.with_name("hidden"))
    with running(a_recorder(db, engine)):
        try:
            for n in range(20):
                tell(db, a_task_event("running", 1, task=f"t{n}"), an_end("success", 2, task=f"t{n}"))
            with pytest.raises(StoreError):
                recorded(engine)
        finally:
            hidden.rename(door)
        until(lambda: recorded(engine) == {TaskState.SUCCESS: 20}, what="everything to be recorded")
        until(lambda: EventStream(db).backlog() == 0, what="everything to be acknowledged")
    engine.dispose()


def test_two_recorders_share_the_work_and_record_everything_once(db: redis.Redis, engine: Engine) -> None:
    """Reliability 80."""
    stream = EventStream(db)
    recorders = [Recorder(EventStream(db), engine, name) for name in "ab"]
    with running(*recorders):
        for n in range(300):
            tell(db, a_task_event("queued", 0, task=f"t{n}"), a_task_event("running", 1, task=f"t{n}"))
            tell(db, an_end("success", 2, task=f"t{n}"))
        until(lambda: stream.backlog() == 0, what="everything to be recorded")
    assert recorded(engine) == {TaskState.SUCCESS: 300}
    assert sum(recorder.recorded for recorder in recorders) == 900
    with reading(engine) as connection:
        assert len(event_log.search(connection)) == 900
        assert len(tasks.tries(connection, KEY)) == 300


def test_event_that_the_database_refuses_holds_up_no_other(db: redis.Redis, tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'x.db'}")
    schema.upgrade(engine)
    with transaction(engine) as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER curse BEFORE INSERT ON xcom WHEN NEW.task_id = 'cursed' BEGIN SELECT RAISE(ABORT, 'cursed!'); END")
    tell(db, a_task_event("running", 1), an_xcom("1", 1), an_xcom("2", 1, task="cursed"), an_xcom("3", 1, task="u"))
    recorder = a_recorder(db, engine)
    assert recorder.step() == 4
    with reading(engine) as connection:
        assert xcoms.of_run(connection, KEY) == {"t": {"return_value": "1"}, "u": {"return_value": "3"}}
        (kept,) = event_log.search(connection, EventFilter(kinds=["unreadable"]))
    assert "cursed!" in json.loads(kept.detail)["problem"]
    assert json.loads(kept.detail)["event"]["task"] == "cursed"
    assert recorder.stream.backlog() == 0
    engine.dispose()


def test_worker_that_cannot_reach_the_database_leaves_the_events_to_others(db: redis.Redis, engine: Engine) -> None:
    lost = open_recorder(db, "postgresql://127.0.0.1:9/rqflow", "lost")
    tell(db, a_task_event("running", 1))
    with pytest.raises(StoreError):
        lost.step()
    assert Recorder(EventStream(db), engine, "hub").step() == 1


def test_worker_with_a_database_url_records(db: redis.Redis, server_url: str, engine: Engine) -> None:
    recorder = open_recorder(db, server_url, "worker")
    tell(db, a_task_event("running", 1))
    assert recorder.step() == 1
    recorder.engine.dispose()
    assert recorded(engine) == {TaskState.RUNNING: 1}


def test_recorder_survives_a_redis_that_lost_everything(db: redis.Redis, engine: Engine) -> None:
    with running(a_recorder(db, engine)):
        tell(db, a_task_event("running", 1))
        until(lambda: recorded(engine) == {TaskState.RUNNING: 1}, what="the first event")
        db.flushall()
        tell(db, an_end("success", 2))
        until(lambda: recorded(engine) == {TaskState.SUCCESS: 1}, what="the second event")
