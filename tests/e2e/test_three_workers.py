"""Two rqflow workers on two queues, and a stock `rq worker` beside one of them, on one Redis and MariaDB."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from rq.job import Job
from rq.serializers import JSONSerializer

from rqflow.broker.events import EventStream
from tests.e2e.lab import Lab, states, tasks
from tests.profile import NOISE
from tests.waiting import until

# Each task proves by a file that cannot be made twice that it runs alone, and writes down each start and end.
DAG = """
from datetime import timedelta
from rqflow import DAG, BashOperator

FOLDER = "{folder}"
ALONE = f'''
key=$RQFLOW_RUN_ID.$RQFLOW_TASK_ID
(set -C; echo $$ > {{FOLDER}}/locks/$key) 2>/dev/null || {{{{ echo "$key twice" >> {{FOLDER}}/doubled; exit 77; }}}}
echo "$RQFLOW_TASK_ID $RQFLOW_TRY start" >> {{FOLDER}}/journal
leave() {{{{ rm {{FOLDER}}/locks/$key; echo "$RQFLOW_TASK_ID $RQFLOW_TRY end $1" >> {{FOLDER}}/journal; exit $1; }}}}
gate() {{{{ until test -e {{FOLDER}}/gates/$1; do sleep 0.05; done; }}}}
'''

def task(name, script="leave 0", **options):
    return BashOperator(task_id=name, bash_command=ALONE + script, **options)

with DAG("mixed"):
    first = task("first", "gate first; leave 0", queue="one")
    flaky = task("flaky", 'test "$RQFLOW_TRY" = 2 || leave 5; leave 0', queue="one", retries=1, retry_delay=timedelta(seconds=2))
    shared = task("shared", "leave 0", queue="shared")
    last = task("last", queue="two")
    first >> [flaky, shared] >> last
    for number in range(3):
        task(f"pooled{{number}}", "gate pooled; leave 0", queue="two", pool="narrow")
    task("skipped", "leave 99", queue="two") >> task("after_skip", queue="two")
    task("broken", "leave 4", queue="two") >> task("after_broken", queue="two")
    task("stock", "gate stock; leave 0", queue="stock")
"""

SHOWN = ("rq:job:*", "rq:queue:*", "rq:wip:*", "rq:finished:*", "rq:failed:*", "rq:deferred:*", "rq:canceled:*", "rq:scheduler:scheduled_jobs",
         "rq:executions:*")


def dump(connection: redis.Redis) -> dict[bytes, bytes | None]:
    return {key: connection.dump(key) for pattern in SHOWN for key in connection.scan_iter(pattern)}


class Watcher:
    """Compares what RQ shows with what rqflow says, and sees to it that looking changes nothing."""

    def __init__(self, lab: Lab, run_id: str) -> None:
        self.lab, self.run_id = lab, run_id
        self.connection = redis.Redis.from_url(lab.redis_url)

    def moment(self, task_id: str, state: str, rq_status: str) -> None:
        def there() -> dict[str, Any] | None:
            found = tasks(self.lab.show(self.run_id))[task_id]
            return found if found["state"] == state else None

        record = until(there, what=f"{task_id} to be {state}")
        job = Job.fetch(record["job_id"], connection=self.connection, serializer=JSONSerializer)
        assert job.get_status().value == rq_status
        # Tasks that end meanwhile change keys too: one look at which nothing else happened is enough.
        for _ in range(10):
            before = dump(self.connection)
            command = [sys.executable, "-m", "rq.cli", "info", "--url", self.lab.redis_url, "--raw"]
            info = subprocess.run(command, capture_output=True, text=True, check=True)
            after = dump(self.connection)
            if before == after:
                break
        assert f"queue {record['queue']} " in info.stdout
        assert after == before


@pytest.mark.timeout(240)
def test_a_mixed_run_is_done_once_and_told_right(new_lab: Callable[..., Lab], lab_redis: str, mariadb_database: str, tmp_path: Path) -> None:
    lab = new_lab(redis_url=lab_redis, database_url=mariadb_database)
    lab.run("db", "upgrade")
    for name in ("locks", "gates"):
        (lab.folder / name).mkdir()
    gates = lab.folder / "gates"
    lab.run("pool", "set", "narrow", "1")
    lab.hub()
    file = lab.dag(DAG.format(folder=lab.folder))
    run_id = lab.submit(file)
    watcher = Watcher(lab, run_id)
    watcher.moment("first", "queued", "queued")
    lab.worker("-Q", "one,shared", "-n", "2", work_dir="w1")
    lab.worker("-Q", "two", "-n", "4", work_dir="w2")
    watcher.moment("first", "running", "started")
    pooled = until(lambda: sorted(name for name, state in states(lab.show(run_id)).items() if name.startswith("pooled") and state == "parked")[1:],
                   what="two pooled tasks to be parked")
    watcher.moment(pooled[0], "parked", "deferred")
    watcher.moment("broken", "failed", "failed")
    watcher.moment("after_broken", "upstream_failed", "canceled")
    watcher.moment("skipped", "skipped", "finished")
    stock = lab.stock_worker("stock", "shared")
    watcher.moment("stock", "running", "started")
    os.kill(stock.pid, signal.SIGKILL)
    stock.wait()
    (gates / "first").touch()
    watcher.moment("flaky", "up_for_retry", "scheduled")
    (gates / "pooled").touch()
    (gates / "stock").touch()
    watcher.moment("last", "success", "finished")
    run = lab.finish(run_id)
    assert run["state"] == "failed"
    assert not (lab.folder / "doubled").exists()
    assert not list((lab.folder / "locks").iterdir())
    assert states(run) == {
        "first": "success", "flaky": "success", "shared": "success", "last": "success", "pooled0": "success", "pooled1": "success",
        "pooled2": "success", "skipped": "skipped", "after_skip": "skipped", "broken": "failed", "after_broken": "upstream_failed",
        "stock": "success"}
    compare_history(run, (lab.folder / "journal").read_text().splitlines())


def compare_history(run: dict, journal: list[str]) -> None:
    """What the tasks wrote down themselves is what the database says: tries, exit codes, order of times, host."""
    ends = {(words[0], int(words[1])): int(words[3]) for words in map(str.split, journal) if words[2] == "end"}
    starts = {(words[0], int(words[1])) for words in map(str.split, journal) if words[2] == "start"}
    told = {(task["task_id"], each["try_number"]): each for task in run["tasks"] for each in task["tries"]}
    assert starts == set(told)
    assert {key: each["exit_code"] for key, each in told.items()} == ends
    for each in told.values():
        assert each["host"] == os.uname().nodename
        assert each["worker"]
        assert datetime.fromisoformat(run["created_at"]) <= datetime.fromisoformat(each["started_at"]) <= datetime.fromisoformat(each["ended_at"])
        assert each["duration"] >= 0
    first, second = told["flaky", 1], told["flaky", 2]
    assert 2.0 <= (datetime.fromisoformat(second["started_at"]) - datetime.fromisoformat(first["ended_at"])).total_seconds() < 2.0 + NOISE


@pytest.mark.parametrize("records", ["worker", "hub"])
def test_history_is_complete_with_either_recorder_alone(new_lab: Callable[..., Lab], lab_redis: str, mariadb_database: str, records: str) -> None:
    """With only the worker's recorder (no scheduler runs) and with only the hub's (the worker knows no database)."""
    lab = new_lab(redis_url=lab_redis, database_url=mariadb_database)
    lab.run("db", "upgrade")
    file = lab.dag("""
        from rqflow import DAG, BashOperator
        with DAG("recorded"):
            BashOperator(task_id="a", bash_command="exit 3") >> BashOperator(task_id="b", bash_command="true", trigger_rule="all_done")
    """)
    if records == "hub":
        lab.hub()
        far = new_lab(redis_url=lab_redis)
        far.worker()
    else:
        lab.run("scheduler", "--once")
        lab.worker()
    run = lab.outcome(file)
    assert states(run) == {"a": "failed", "b": "success"}
    with redis.Redis.from_url(lab_redis) as connection:
        until(lambda: EventStream(connection).backlog() == 0, what="everything to be recorded")
        connection.flushall()
    history = lab.show(run["run_id"])
    assert [task["tries"][0]["exit_code"] for task in history["tasks"]] == [3, 0]
    assert history["state"] == "success"
