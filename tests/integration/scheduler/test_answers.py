"""What the hub answers when it is asked the same thing again, because the one before it died over the answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis

from rqflow.actions import submit
from rqflow.broker import keys
from rqflow.broker.broker import Broker
from rqflow.broker.requests import RequestDesk
from rqflow.deploy.answers import START_RUN, handlers
from rqflow.settings import Settings
from rqflow.store import runs
from rqflow.store.engine import Engine, reading
from tests.unit.builders import a_version


@pytest.mark.parametrize("asked", [{}, {"run_id": "mine"}], ids=["any run", "a run of this name"])
def test_a_request_that_is_answered_again_starts_no_second_run(db: redis.Redis, engine: Engine, home: Path, asked: dict[str, str]) -> None:
    broker = Broker(db, Settings(home=home))
    submit.register(broker, engine, [a_version()])
    desk = RequestDesk(db, handlers(broker, engine))
    entry = {"id": "q", "kind": START_RUN, "payload": json.dumps({"dag_id": "d", **asked})}
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
