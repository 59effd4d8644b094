"""Redis is as it was before once runs are over: none of their keys is left, and none of those of the processes that ran them."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from pathlib import Path

import redis

from rqflow.actions import query
from rqflow.store.runs import RunFilter
from tests.e2e.lab import Lab
from tests.profile import PATIENCE
from tests.waiting import until

logger = logging.getLogger(__name__)

DAG = """
    from datetime import timedelta
    from rqflow import DAG, BashOperator, EmptyOperator, PythonOperator
    with DAG("flat", max_active_tasks=2) as dag:
        first = BashOperator(task_id="first", bash_command="echo value", do_xcom_push=True)
        [BashOperator(task_id=f"wide_{n}", bash_command="echo {{ ti.xcom_pull('first') | shquote }}", queue=("default", "other")[n % 2])
         << first for n in range(4)]
        first >> BashOperator(task_id="retried", bash_command="test $RQFLOW_TRY -gt 1", retries=1, retry_delay=timedelta(seconds=0.2))
        first >> BashOperator(task_id="skipped", bash_command="exit 99") >> EmptyOperator(task_id="after_skipped")
        first >> BashOperator(task_id="failed", bash_command="exit 1") >> BashOperator(task_id="not_run", bash_command="true")
        first >> PythonOperator(task_id="python", python_callable=lambda: 7)
"""

SLOW = """
    from rqflow import DAG, BashOperator
    with DAG("slow"):
        BashOperator(task_id="a", bash_command="sleep 300") >> BashOperator(task_id="b", bash_command="true")
"""

SMALL = """
    from rqflow import DAG, BashOperator
    with DAG("small"):
        BashOperator(task_id="a", bash_command="echo a")
"""

TWO = """
    from rqflow import DAG, BashOperator
    with DAG("two"):
        BashOperator(task_id="a", bash_command="echo a", do_xcom_push=True) >> BashOperator(task_id="b", bash_command="exit 1")
"""

#: What belongs to no run and to no process: names of queues, counters, empty streams with their groups, the copy of Variables and Connections.
STANDING = {"rqflow:outside", "rq:queues", "rqflow:sequence", "rqflow:events", "rqflow:logs", "rqflow:requests", "rqflow:epoch", "rqflow:watched"}
#: Bells that rang and nobody heard; at most one a queue, and one of the scheduler.
BELLS = ("rqflow:bell:", "rqflow:wake", "rqflow:call")
#: How far whole logs are archived, and replies to the last call: kept for some minutes in case that they come again.
SHORT = ("rqflow:logs:acked:", "rqflow:reply:")
#: What Redis says of the life of a key that has gone meanwhile.
GONE = -2


def names(connection: redis.Redis) -> set[str]:
    return {key.decode() for key in connection.scan_iter()}


def of_runs(connection: redis.Redis) -> set[str]:
    """Every key that may belong to a run: all but what stands, and what processes that live have of their own."""
    own = ("rq:worker", "rq:clean_", "rq:scheduler_instance:", "rqflow:leader", "rqflow:protocol", "rqflow:schedulers", "rqflow:machines", "rqflow:heard",
           "rqflow:admitted", "rqflow:announced", "rqflow:recorded:")
    return {name for name in names(connection) - STANDING if not name.startswith((*own, *BELLS, *SHORT))}


def gone(connection: redis.Redis) -> bool:
    """Whether no key of a run is left; those that are stand in the log of the test."""
    left = of_runs(connection)
    logger.warning("left: %s", sorted(left))
    return not left


def test_r79_no_key_of_a_run_is_left_nor_of_the_processes_that_ran_it(new_lab: Callable[..., Lab], lab_redis: str) -> None:
    lab = new_lab(redis_url=lab_redis, environ={"RQFLOW__BROKER__RUN_RETENTION": "500ms"})
    lab.hub()
    lab.worker("-n", "4", "-Q", "default,other")
    file = lab.dag(DAG)
    run_id = lab.submit(file)
    lab.run("run", "cancel", lab.submit(lab.dag(SLOW, "slow.py")))
    until(lambda: lab.show(run_id)["state"] == "failed", what="the run to end")
    with redis.Redis.from_url(lab_redis) as connection:
        until(lambda: gone(connection), what="every key of the runs to go")
        lives = {name: connection.ttl(name) for name in names(connection) if name.startswith(SHORT) and not name.endswith(":turn")}
        assert all(life == GONE or 0 <= life <= 600 for life in lives.values()), lives
        for stream in ("rqflow:events", "rqflow:logs", "rqflow:requests"):
            until(lambda: connection.xlen(stream) == 0, what=f"{stream} to be empty")  # noqa: B023 (called before the next turn)
        for process in lab.processes:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0, lab.logs()
        left = {name for name in names(connection) - STANDING if not name.startswith((*BELLS, *SHORT, "rqflow:protocol"))}
        # What would have to be awaited after a loss of Redis: the hub ended first, and could not forget it.
        left -= {"rqflow:machines", "rqflow:admitted", "rqflow:announced"}
        assert all(0 < connection.ttl(name) <= 120 for name in left), left
        assert not [name for name in names(connection) if name.endswith(":turn")]
        assert lab.show(run_id)["state"] == "failed", "the history stays"


def test_reply_of_a_killed_worker_goes_with_the_start_of_the_next(new_lab: Callable[..., Lab], lab_redis: str) -> None:
    lab = new_lab(redis_url=lab_redis)
    lab.run("scheduler", "--once")
    with redis.Redis.from_url(lab_redis) as connection:
        worker = lab.worker()
        (before,) = until(lambda: [name for name in names(connection) if name.endswith(":turn")], what="the worker to ask for work")
        worker.kill()
        worker.wait()
        lab.start("worker")
        until(lambda: before not in names(connection), what="the reply of the first worker to go")


def test_r79_hub_removes_old_history_and_old_logs_by_itself(new_lab: Callable[..., Lab], lab_redis: str) -> None:
    lab = new_lab(redis_url=lab_redis, environ={"RQFLOW__BROKER__RUN_RETENTION": "100ms"})
    hub = lab.hub()
    lab.worker()
    file, services = lab.dag(SMALL), lab.services
    run_ids = [lab.submit(file) for _ in range(3)]
    folder = Path(services.settings.logs.folder)

    def kept() -> list[str]:
        return [run.run_id for run in query.list_runs(services.broker, services.engine, RunFilter(), limit=None)]

    until(lambda: len([path for path in folder.rglob("1.log") if not path.stat().st_mode & 0o200]) == 3, what="all logs to be archived")
    until(lambda: not services.broker.all_runs(), what="Redis to forget the runs")
    assert kept() == run_ids[::-1], "nothing goes unasked"
    hub.send_signal(signal.SIGTERM)
    assert hub.wait(PATIENCE) == 0
    lab.start("scheduler", environ={"RQFLOW__DATABASE__RETENTION": "100ms", "RQFLOW__DATABASE__KEEP_LAST": "1", "RQFLOW__LOGS__RETENTION": "100ms"})
    until(lambda: kept() == run_ids[-1:], what="old runs to go")
    until(lambda: not [path for path in folder.iterdir() if path.is_dir()], what="the logs to go, and their folders")


def test_no_key_is_left_of_runs_of_a_stock_worker(new_lab: Callable[..., Lab], lab_redis: str) -> None:
    lab = new_lab(redis_url=lab_redis, environ={"RQFLOW__BROKER__RUN_RETENTION": "500ms"})
    lab.hub()
    stock = lab.stock_worker("default", "other")
    run_id = lab.submit(lab.dag(TWO))
    until(lambda: lab.show(run_id)["state"] == "failed", what="the run to end")
    with redis.Redis.from_url(lab_redis) as connection:
        until(lambda: gone(connection), what="every key of the run to go")
        stock.send_signal(signal.SIGTERM)
        stock.wait(PATIENCE)
        until(lambda: not [name for name in names(connection) if name.endswith(":turn")], what="its reply to go")
