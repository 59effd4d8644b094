"""Reliability 67: a deleted DAG does not come back when all parts are restarted and its file is still there, and leaves nothing in Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from rqflow.actions import query
from rqflow.broker import keys
from rqflow.store.runs import RunFilter
from tests.e2e.lab import Lab, alive
from tests.services import OwnRedis
from tests.waiting import until

SOURCE = """
    from datetime import timedelta
    from rqflow import DAG, BashOperator
    for name in ("doomed", "other"):
        with DAG(name, schedule=timedelta(seconds=1), start_date="2026-01-01", max_active_runs=2):
            BashOperator(task_id="a", bash_command="true") >> BashOperator(task_id="b", bash_command="test -e PIDS && exit 0; echo $$ > PIDS; exec sleep 600" if name == "doomed" else "true")
"""


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    (tmp_path / "redis").mkdir()
    server = OwnRedis(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


def test_r67_a_deleted_dag_stays_away_over_a_restart_of_all_parts(new_lab: Callable[..., Lab], own_redis: OwnRedis) -> None:
    lab = new_lab(redis_url=own_redis.url)
    hub, worker = lab.hub(), lab.worker("-Q", "default", "-n", "4")
    pids = lab.folder / "pids"
    file = lab.dag(SOURCE.replace("PIDS", str(pids)))
    lab.run("submit", file, "--no-follow")

    def runs(dag_id: str) -> list[str]:
        return [run.run_id for run in query.list_runs(lab.services.broker, lab.services.engine, RunFilter(dag_id=dag_id), limit=None)]

    until(lambda: pids.exists() and pids.read_text(), what="a run of it to sleep")
    lab.run("dag", "delete", "doomed", "--yes")
    until(lambda: not alive([int(pid) for pid in pids.read_text().split()]), what="what ran of it to end")
    for process in (hub, worker):
        process.kill()
        process.wait()
    own_redis.kill()
    own_redis.start()
    lab.reopen()
    lab.hub()
    lab.worker("-Q", "default", "-n", "4")
    before = len(runs("other"))
    until(lambda: len(runs("other")) >= before + 2, what="the schedule of the other to go on")
    assert file.exists()
    assert [dag["dag_id"] for dag in lab.json("dag", "list")] == ["other"]
    assert "there is no DAG doomed" in lab.run("run", "start", "doomed", code=3).stderr
    with redis.Redis.from_url(own_redis.url) as db:
        kept = [key for key in db.scan_iter() if not key.startswith((keys.REPLY.encode(), keys.EVENTS.encode(), keys.LOGS.encode()))]
        texts = b"".join(key + (db.dump(key) or b"") for key in kept)
    assert b"doomed" not in texts
    lab.run("submit", file, "--no-follow")
    until(lambda: runs("doomed"), what="it to run again after a person's submit")
