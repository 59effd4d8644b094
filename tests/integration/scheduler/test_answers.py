"""What the hub answers when it is asked the same thing again, because the one before it died over the answer."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
import redis

from rqflow import clock
from rqflow.actions import schedule, submit, trigger
from rqflow.broker import keys
from rqflow.broker.broker import Broker
from rqflow.broker.events import EventStream
from rqflow.broker.requests import ASKED_AT, RequestDesk
from rqflow.dag.asking import EXTERNAL_STATE, RUN_STATE, START_RUN
from rqflow.dag.series import Interval
from rqflow.deploy.answers import handlers
from rqflow.exceptions import Conflict
from rqflow.recorder.recorder import Recorder
from rqflow.settings import Settings
from rqflow.store import runs
from rqflow.store.engine import Engine, reading, run_in_transaction
from tests.integration.broker.playing import claim, end, play, tell
from tests.unit.builders import a_task, a_version


@pytest.mark.parametrize("wish", [{}, {"run_id": "mine"}], ids=["any run", "a run of this name"])
def test_a_request_that_is_answered_again_starts_no_second_run(db: redis.Redis, engine: Engine, home: Path, wish: dict[str, str]) -> None:
    broker = Broker(db, Settings(home=home))
    submit.register(broker, engine, [a_version()])
    desk = RequestDesk(db, handlers(broker, engine))
    entry = {"id": "q", "kind": START_RUN, "payload": json.dumps({"dag_id": "d", **wish})}
    name = db.xadd(keys.REQUESTS, entry)
    desk.step()
    # As if the hub had died before it could say so.
    db.xadd("again", entry, id=name)
    db.rename("again", keys.REQUESTS)
    desk.step()
    first, second = map(json.loads, db.lrange(keys.ANSWER + "q", 0, -1))
    assert first == second
    with reading(engine) as connection:
        assert [run.run_id for run in runs.search(connection)] == [first["answer"]["run_id"]]
    db.xadd(keys.REQUESTS, {**entry, "id": "other", "payload": json.dumps({"dag_id": "d", "run_id": first["answer"]["run_id"]})})
    desk.step()
    assert b"has a run" in db.lindex(keys.ANSWER + "other", 0)


def test_a_run_of_a_date_that_has_one_must_have_a_name_of_its_own(db: redis.Redis, engine: Engine, home: Path) -> None:
    broker, date = Broker(db, Settings(home=home)), "2026-01-01T00:00:00+00:00"
    submit.register(broker, engine, [version := a_version()])
    interval = Interval(logical_date=datetime.fromisoformat(date), start=datetime.fromisoformat(date), end=datetime.fromisoformat(date))
    assert trigger.start_scheduled(broker, engine, trigger.scheduled(version, interval, clock.utcnow()), version)
    with pytest.raises(Conflict, match=r"d has a run of the logical date 2026-01-01T00:00:00\+00:00 already: scheduled__2026-01-01"):
        asked(broker, engine, START_RUN, dag_id="d", logical_date=date)
    assert asked(broker, engine, START_RUN, dag_id="d", logical_date=date, if_exists="tell")["run_id"] == f"scheduled__{date}"
    assert asked(broker, engine, START_RUN, dag_id="d", logical_date=date, run_id="mine")["run_id"] == "mine"
    with reading(engine) as connection:
        assert sorted(run.run_id for run in runs.search(connection)) == ["mine", f"scheduled__{date}"]


def asked(broker: Broker, engine: Engine, kind: str, **payload: object) -> dict[str, object]:
    """What the hub answers."""
    return dict(handlers(broker, engine)[kind]({ASKED_AT: clock.to_micros(clock.utcnow()), **payload}))


def record(db: redis.Redis, engine: Engine) -> None:
    recorder = Recorder(EventStream(db), engine, "r")
    while recorder.step(block_ms=0):
        pass


def test_a_run_that_exists_is_told_or_cleared_once(db: redis.Redis, engine: Engine, home: Path) -> None:
    broker = Broker(db, Settings(home=home))
    submit.register(broker, engine, [a_version({"a": []})])
    wish = {"dag_id": "d", "run_id": "mine"}
    started = asked(broker, engine, START_RUN, **wish)
    assert (started["run_id"], "existed" in started) == ("mine", False)
    assert asked(broker, engine, START_RUN, **wish, if_exists="tell")["existed"]
    with pytest.raises(Conflict, match="it can be cleared when it has ended"):
        asked(broker, engine, START_RUN, **wish, if_exists="reset")
    play(broker)
    record(db, engine)
    assert asked(broker, engine, RUN_STATE, **wish) == {"run_id": "mine", "state": "success"}
    again = {**wish, "if_exists": "reset", "since": clock.to_micros(clock.utcnow())}
    assert asked(broker, engine, START_RUN, **again)["was_reset"]
    # The history does not know of it yet.
    assert asked(broker, engine, RUN_STATE, **wish)["state"] == "running"
    (claimed,) = claim(broker)
    assert claimed.try_number == 2
    assert asked(broker, engine, START_RUN, **again)["was_reset"], "asked again over a lost answer"
    assert broker.task_statuses(claimed.run_key)[0].try_number == 2


def test_a_paused_dag_is_refused_where_that_is_wished(db: redis.Redis, engine: Engine, home: Path) -> None:
    broker = Broker(db, Settings(home=home))
    submit.register(broker, engine, [a_version()])
    run_in_transaction(engine, lambda connection: schedule.pause(connection, "d", by="ann"))
    with pytest.raises(Conflict, match="DAG d is paused"):
        asked(broker, engine, START_RUN, dag_id="d", refuses_paused=True)


def test_how_tasks_of_another_dag_stand(db: redis.Redis, engine: Engine, home: Path) -> None:
    broker = Broker(db, Settings(home=home))
    groups = {"g": {"tooltip": "", "parent": ""}}
    submit.register(broker, engine, [a_version({"a": [], "b": ["a"]}, specs=[a_task("b", group_id="g")], groups=groups)])
    date = "2026-05-01T00:00:00+00:00"

    def states(**wanted: object) -> object:
        (run,) = asked(broker, engine, EXTERNAL_STATE, dag_id="d", logical_dates=[date], **wanted)["runs"]
        return run["states"]

    assert states(task_ids=["a"]) == []
    asked(broker, engine, START_RUN, dag_id="d", logical_date=date)
    tell(broker, end(claim(broker)[0]))
    record(db, engine)
    assert states(task_ids=["a", "b"]) == ["success", "queued"]
    assert states(group_id="g") == ["queued"]
    assert states() == ["running"]
    assert asked(broker, engine, EXTERNAL_STATE, dag_id="d", logical_dates=[], task_ids=["z"], group_id="h")["missing"] == ["task z", "group h"]
    assert not asked(broker, engine, EXTERNAL_STATE, dag_id="nowhere", logical_dates=[date])["has_dag"]


def test_what_was_a_subdag_is_found_by_its_own_name(db: redis.Redis, engine: Engine, home: Path) -> None:
    broker = Broker(db, Settings(home=home))
    groups = {"child": {"tooltip": "", "parent": "", "subdag": "d.child"}}
    submit.register(broker, engine, [a_version({"child.a": []}, specs=[a_task("child.a", group_id="child")], groups=groups)])
    date = "2026-05-01T00:00:00+00:00"
    asked(broker, engine, START_RUN, dag_id="d", logical_date=date)
    play(broker)
    record(db, engine)
    for wanted in ({"task_ids": ["a"]}, {}):
        answer = asked(broker, engine, EXTERNAL_STATE, dag_id="d.child", logical_dates=[date], **wanted)
        assert (answer["has_dag"], answer["missing"], answer["runs"]) == (True, [], [{"logical_date": date, "states": ["success"]}])
    assert not asked(broker, engine, EXTERNAL_STATE, dag_id="d.other", logical_dates=[date])["has_dag"]
