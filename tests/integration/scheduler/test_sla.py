"""What did not end in its sla is found once, told, and told again to whoever was not there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from rqflow import clock
from rqflow.broker import keys
from rqflow.broker.events import EventStream
from rqflow.dag.run import MANUAL, SCHEDULED, run_key
from rqflow.recorder.apply import apply
from rqflow.scheduler.sla import SlaWatch, recorded_upto
from rqflow.store import dags, notices, runs, sla
from rqflow.store.engine import Engine, reading, run_in_transaction
from rqflow.store.sla import Miss
from tests.integration.recorder.events import a_run_event, a_task_event, an_end
from tests.unit.builders import a_run, a_task, a_version

HOUR = timedelta(hours=1)
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


class World:
    """Hourly runs of DAG d; task `t` should end within 10 minutes of the end of the interval, `u` within 3 hours, `free` some time."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine, self.now = engine, NOON
        monkeypatch.setattr(clock, "utcnow", lambda: self.now)
        self.version = a_version(specs=[a_task("t", sla=600.0, email=("ada@x.test",)), a_task("u", sla=10800.0), a_task("free")])
        run_in_transaction(engine, lambda connection: dags.save_version(connection, self.version))
        self.told: list[tuple[str, list[str]]] = []
        self.leader()

    def leader(self) -> SlaWatch:
        self.watch = SlaWatch(self.engine, lambda: self.now, self.tell)
        return self.watch

    def tell(self, key: str, misses: Sequence[Miss]) -> None:
        self.told.append((key, [one.task_id for one in misses]))

    def run(self, run_id: str = "r", *, at: datetime = NOON, **changes: Any) -> str:
        """A run whose interval ended `at`, where it was made."""
        facts = {"run_type": SCHEDULED, "logical_date": at - HOUR, "data_interval_start": at - HOUR, "data_interval_end": at, "created_at": at}
        info = a_run(self.version, run_id=run_id, **{**facts, **changes})
        assert run_in_transaction(self.engine, lambda connection: runs.create(connection, info)), "one a logical date"
        return info.key

    def record(self, *events: Any) -> None:
        run_in_transaction(self.engine, lambda connection: apply(connection, events))

    def ends(self, state: str, task: str, at: datetime, run_id: str = "r", **changes: Any) -> None:
        micros = str(clock.to_micros(at))
        self.record(an_end(state, 0, task, run_id=run_id, **{"seq": micros, "at": micros, "ended_at": micros, **changes}))

    def after(self, time: timedelta) -> int:
        """Let so much time pass, and look; return how many misses were new."""
        self.now += time
        return self.watch.step()

    def misses(self) -> list[tuple[str, datetime]]:
        with reading(self.engine) as connection:
            return sorted((one.task_id, one.due_at) for one in sla.search(connection))


@pytest.fixture
def world(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(engine, monkeypatch)


def test_a_miss_is_found_once_and_people_and_callbacks_are_told(world: World) -> None:
    key = world.run()
    world.record(a_task_event("running", 1))
    assert world.after(timedelta(minutes=9)) == 0
    assert world.after(timedelta(minutes=2)) == 1
    assert world.misses() == [("t", NOON + timedelta(minutes=10))]
    assert world.after(HOUR) == 0
    assert world.told == [(key, ["t"])]
    assert world.after(timedelta(hours=3)) == 1
    assert world.told == [(key, ["t"]), (key, ["u"])]
    with reading(world.engine) as connection:
        found = notices.unsorted(connection, 10)
        assert [(one.kind, one.task_id, one.detail) for one in found] == [
            ("sla", "t", "it had not ended by 2026-11-29 12:10:00 UTC"), ("sla", "u", "it had not ended by 2026-11-29 15:00:00 UTC")]
        assert sla.counts(connection, [key, "x"]) == {key: 2}
        assert set(sla.missed(connection, key)) == {"t", "u"}


def test_what_ends_in_time_is_no_miss_and_what_ends_late_between_two_looks_is_one(world: World) -> None:
    world.run("good", at=NOON - timedelta(seconds=1))
    world.ends("success", "t", NOON + timedelta(minutes=9), "good")
    world.ends("skipped", "u", NOON + timedelta(minutes=9), "good")
    world.run("late")
    world.ends("success", "t", NOON + timedelta(minutes=11), "late")
    world.ends("success", "u", NOON + timedelta(minutes=11), "late")
    world.record(a_run_event("success", 1, "good"), a_run_event("success", 1, "late"))
    assert world.after(HOUR) == 1
    assert world.told == [(run_key("d", "late"), ["t"])]
    assert world.after(timedelta(hours=9)) == 0


def test_a_run_that_failed_misses_when_its_time_comes_and_one_that_was_cancelled_does_not(world: World) -> None:
    world.run("failed")
    world.ends("failed", "t", NOON + timedelta(minutes=1), "failed")
    world.record(a_task_event("upstream_failed", 2, "u", run_id="failed"), a_run_event("failed", 3, "failed"))
    world.run("cancelled", at=NOON - timedelta(seconds=1))
    world.record(a_task_event("cancelled", 1, run_id="cancelled"), a_task_event("cancelled", 1, "u", run_id="cancelled"))
    assert world.after(timedelta(minutes=5)) == 0
    assert world.after(timedelta(minutes=10)) == 1
    assert world.after(timedelta(hours=4)) == 1
    assert {key for key, _ in world.told} == {run_key("d", "failed")}


def test_runs_by_hand_and_runs_that_make_up_for_the_past_have_no_sla(world: World) -> None:
    world.run("by hand", run_type=MANUAL)
    world.run("old", at=NOON - 5 * HOUR, created_at=NOON)
    world.run("late but the newest", at=NOON - timedelta(minutes=59), created_at=NOON)
    assert world.after(timedelta(seconds=1)) == 1
    assert world.told == [(run_key("d", "late but the newest"), ["t"])]


def test_the_next_leader_finds_what_ended_unwatched_and_tells_what_was_not_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run()
    world.ends("success", "t", NOON + timedelta(minutes=20))
    world.ends("success", "u", NOON + timedelta(minutes=20))
    world.record(a_run_event("success", 1))
    monkeypatch.setattr(world, "tell", _dies)
    world.leader()
    with pytest.raises(KeyboardInterrupt):
        world.after(HOUR)
    monkeypatch.undo()
    told: list[str] = []
    watch = SlaWatch(world.engine, lambda: world.now, lambda key, _: told.append(key))
    assert watch.step() == 0
    assert told == [run_key("d", "r")]
    assert watch.step() == 0
    assert told == [run_key("d", "r")], "once"


def _dies(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_version_of_an_older_release_is_looked_at_after_its_next_submit(world: World) -> None:
    run_in_transaction(world.engine, lambda connection: connection.exec_driver_sql("UPDATE dag_version SET has_sla = NULL"))
    world.run()
    assert world.after(HOUR) == 0
    run_in_transaction(world.engine, lambda connection: dags.save_version(connection, world.version))
    assert world.after(timedelta(0)) == 1


def test_only_what_is_recorded_is_judged(db: redis.Redis, home: Path) -> None:
    del home
    stream = EventStream(db)
    before = clock.utcnow() - timedelta(seconds=1)
    assert recorded_upto(stream) > before, "nothing ever happened"
    db.xadd(keys.EVENTS, {"e": "[]"}, id="1790000000000-0")
    assert recorded_upto(stream) <= clock.from_micros(1_790_000_000_000_000), "it waits to be recorded"
    [(entry, _)] = stream.read("me", block_ms=0)
    assert recorded_upto(stream) == clock.from_micros(1_790_000_000_000_000), "somebody is at it"
    stream.acknowledge([entry])
    assert recorded_upto(stream) > before
