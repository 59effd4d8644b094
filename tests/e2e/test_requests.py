"""What a machine that sees only Redis can ask of the hub."""

from __future__ import annotations

import pytest
import redis

from rqflow.broker.requests import ask
from rqflow.exceptions import RqflowError
from tests.e2e.lab import Lab
from tests.waiting import until


def test_a_run_can_be_started_and_looked_at_over_redis_alone(lab: Lab) -> None:
    lab.run("submit", lab.dag("""
        from rqflow import DAG, BashOperator
        with DAG("asked_for"):
            BashOperator(task_id="a", bash_command="echo {{ dag_run.conf.word }}")
    """), "--no-follow")
    with redis.Redis.from_url(lab.redis_url) as connection:
        wish = {"dag_id": "asked_for", "conf": {"word": "hi"}, "logical_date": "2026-05-01T00:00"}
        started = ask(connection, "start_run", wish)
        assert started["run_id"] == "manual__2026-05-01T00:00:00+00:00"
        assert lab.finish(started["run_id"])["state"] == "success"
        assert until(lambda: ask(connection, "run_state", wish))["state"] == "success"
        with pytest.raises(RqflowError, match="has a run"):
            ask(connection, "start_run", wish)
        with pytest.raises(RqflowError, match="no DAG nowhere"):
            ask(connection, "start_run", {"dag_id": "nowhere"})
    assert "hi" in lab.task_log(started["run_id"], "a").split()
