"""The home page: right while runs go on, before their ends are recorded, and after; in a few questions."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from rqflow.actions import rewrite
from rqflow.actions.model import plain
from rqflow.actions.sights.home import Home, home
from rqflow.broker.lock import leader
from rqflow.broker.logstream import LogStream
from rqflow.clock import utcnow
from rqflow.states import TaskState
from rqflow.store import schedules
from rqflow.store.engine import transaction
from tests.integration.actions.hub import Hub
from tests.integration.actions.sights.conftest import Counted
from tests.integration.broker import playing
from tests.unit.builders import a_version

ONE = pytest.mark.parametrize("database", ["sqlite"])


def of(hub: Hub) -> Home:
    return home(hub.broker, hub.engine)


def test_what_runs_and_what_failed_is_told_before_and_after_it_is_recorded(hub: Hub) -> None:
    run = hub.start(a_version({"a": [], "b": ["a"]}, dag_id="line"))
    other = hub.start(a_version(["x"], dag_id="other"))
    claims = {claim.task_id: claim for claim in playing.claim(hub.broker)}
    found = of(hub)
    assert [(one.dag_id, dict(one.counts)) for one in found.runs] == [("other", {"running": 1}), ("line", {"running": 1, "pending": 1})]
    assert {(one.dag_id, one.task_id, one.worker) for one in found.tasks} == {("line", "a", "w1"), ("other", "x", "w1")}
    assert (found.run_count, found.task_count, found.failed) == (2, 2, ())
    playing.tell(hub.broker, playing.end(claims["a"], TaskState.FAILED), playing.end(claims["x"]))
    for recorded in (False, True):
        if recorded:
            hub.forget(run, other)
        found = of(hub)
        assert ([one.run_key for one in found.failed], found.failed_count, found.runs, found.tasks) == ([run.run_key], 1, (), ())


@ONE
def test_a_run_that_runs_again_has_not_failed(hub: Hub) -> None:
    run = hub.start(a_version(["a"], dag_id="d"))
    playing.play(hub.broker, {"a": TaskState.FAILED})
    hub.record()
    rewrite.clear(hub.broker, hub.engine, run, [0], by="ann")
    found = of(hub)
    assert (found.failed, [one.run_key for one in found.runs]) == ((), [run.run_key])
    playing.play(hub.broker)
    assert (of(hub).failed, of(hub).runs) == ((), ())


@ONE
def test_what_failed_longer_ago_is_left_out(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    run = hub.start(a_version(["a"], dag_id="d"))
    playing.play(hub.broker, {"a": TaskState.FAILED})
    hub.forget(run)
    assert of(hub).failed_count == 1
    monkeypatch.setattr("rqflow.actions.sights.home.BACK", timedelta(0))
    assert of(hub).failed_count == 0


@ONE
def test_what_comes_in_the_next_day_is_told(hub: Hub) -> None:
    for name, hours in (("soon", 1), ("later", 20), ("tomorrow", 30)):
        hub.start(a_version(["a"], dag_id=name, schedule="@daily"))
        with transaction(hub.engine) as connection:
            at = utcnow() + timedelta(hours=hours)
            schedules.put(connection, name, schedules.Followed(series="s", start=at, upto=None, next_run_at=at))
    assert [(one.dag_id, one.schedule_words) for one in of(hub).upcoming] == [("soon", "every day at 00:00"), ("later", "every day at 00:00")]


@ONE
def test_queues_tell_how_many_wait_and_how_long(hub: Hub) -> None:
    hub.start(a_version(["a", "b", "c"], dag_id="d"))
    playing.claim(hub.broker, wanted=1)
    queue, = of(hub).queues
    assert (queue.name, queue.waiting, queue.workers, queue.oldest is not None) == ("default", 2, 0, True)
    playing.play(hub.broker)
    assert [one.oldest for one in of(hub).queues] == [None]


@ONE
def test_the_health_of_each_part_is_told(hub: Hub) -> None:
    hub.start(a_version(["a"], dag_id="d"))
    told = {part.name: part.is_well for part in of(hub).health}
    assert told == {"scheduler": False, "redis": True, "database": True, "recorder": False, "archive": True}
    leader(hub.db, ttl=timedelta(minutes=1)).hold()
    hub.broker.steps.command("SET", "rqflow:watched", str(int(utcnow().timestamp() * 1_000_000)))
    LogStream(hub.db).hold("disk full")
    told = {part.name: part.is_well for part in of(hub).health}
    assert told == {"scheduler": True, "redis": True, "database": True, "recorder": True, "archive": False}


@ONE
def test_without_redis_the_history_tells_what_it_has(hub: Hub) -> None:
    run = hub.start(a_version(["a"], dag_id="d"))
    found = home(None, hub.engine)
    assert [one.run_key for one in found.runs] == [run.run_key]
    assert {part.name: part.is_well for part in found.health} == {
        "redis": False, "database": True, "scheduler": None, "recorder": None, "archive": None}


@ONE
def test_who_may_not_see_a_dag_sees_nothing_of_it(hub: Hub) -> None:
    for name in ("mine", "theirs"):
        hub.start(a_version(["a"], dag_id=name))
    playing.claim(hub.broker)
    found = home(hub.broker, hub.engine, sees=lambda dag_id: dag_id == "mine")
    assert ({one.dag_id for one in (*found.runs, *found.tasks)}, found.run_count, found.task_count) == ({"mine"}, 1, 1)


@ONE
def test_the_number_of_questions_does_not_grow(hub: Hub, counted: Counted) -> None:
    asked = []
    for number in (1, 9):
        for place in range(number):
            hub.start(a_version(["a", "b"], dag_id=f"d{place}"), day=number)
        playing.claim(hub.broker, wanted=1)
        of(hub)
        counted.statements.clear()
        counted.round_trips = 0
        of(hub)
        asked.append((len(counted.statements), counted.round_trips))
    assert asked[0] == asked[1], counted.statements
    assert asked[0][0] == 3
    assert asked[0][1] < 25


@ONE
def test_it_is_json(hub: Hub) -> None:
    hub.start(a_version(["a"], dag_id="d"))
    playing.claim(hub.broker)
    assert json.loads(json.dumps(plain(of(hub))))["tasks"][0]["task_id"] == "a"
