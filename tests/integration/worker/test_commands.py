"""RQ's own commands to a worker, and RQ's own command that starts one."""

from __future__ import annotations

import signal
import subprocess

import pytest
from rq.command import send_kill_horse_command, send_shutdown_command, send_stop_job_command
from rq.serializers import JSONSerializer
from rq.suspension import resume, suspend
from rq.worker import Worker as StockWorker

from rqflow.broker.status import WorkerStatus
from tests.integration.worker.conftest import ROOT, RQ, Site
from tests.profile import PATIENCE
from tests.unit.builders import a_version
from tests.waiting import until


def registered(site: Site) -> WorkerStatus:
    """Wait for the worker, until it hears commands too."""
    worker = until(lambda: site.broker.workers(), what="the worker to register")[0]
    until(lambda: site.db.pubsub_numsub(f"rq:pubsub:{worker.name}")[0][1], what="the worker to listen")
    return worker


def test_stop_job_ends_that_try_for_good(site: Site) -> None:
    run = site.run(a_version(["t", "other"], commands=dict.fromkeys(("t", "other"), "sleep 1000"), each={"retries": 3, "retry_delay": 0.0}))
    site.start()
    site.until(run, "running")
    site.until(run, "running", "other")
    send_stop_job_command(site.db, site.task(run).job_id, serializer=JSONSerializer)
    status = site.until(run, "failed")
    assert (status.try_number, status.reason) == (1, "stopped by a person")
    assert site.task(run, "other").state == "running"


def test_kill_horse_fails_what_runs(site: Site) -> None:
    run = site.command("sleep 1000")
    site.start()
    site.until(run, "running")
    send_kill_horse_command(site.db, registered(site).name)
    assert site.until(run, "failed").reason == "killed by signal 15 (TERM)"


def test_shutdown_is_like_sigterm(site: Site) -> None:
    worker = site.start()
    name = registered(site).name
    send_shutdown_command(site.db, name)
    assert worker.wait(PATIENCE) == 0


def test_commands_are_heard_again_after_the_link_broke(site: Site) -> None:
    """Reliability 23."""
    worker = site.start()
    name = registered(site).name
    site.db.client_kill_filter(_type="pubsub")
    until(lambda: site.db.pubsub_numsub(f"rq:pubsub:{name}")[0][1], what="the worker to listen again")
    send_shutdown_command(site.db, name)
    assert worker.wait(PATIENCE) == 0


@pytest.mark.parametrize("nonsense", ["no json", "[]"])
def test_what_is_no_command_is_passed_over(site: Site, nonsense: str) -> None:
    worker = site.start()
    name = registered(site).name
    site.db.publish(f"rq:pubsub:{name}", nonsense)
    send_shutdown_command(site.db, name)
    assert worker.wait(PATIENCE) == 0, site.said()


def test_worker_that_redis_has_forgotten_registers_anew(site: Site) -> None:
    """Its record expires while its machine sleeps."""
    worker = site.start(slots=3, labels=["gpu"])
    name = registered(site).name
    site.db.delete(f"rq:worker:{name}")
    [found] = until(lambda: [known for known in site.broker.workers() if known.slots == 3], what=f"the record to be whole: {site.said()}")
    assert (found.name, found.pid, found.labels) == (name, worker.pid, ("gpu",))


def test_worker_that_cannot_register_can_be_stopped(site: Site) -> None:
    site.db.set("rq:workers", "no set")
    worker = site.start()
    until(lambda: "Redis refuses a call" in site.said(), what="the worker to fail")
    assert "nothing is lost" in site.said()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE) == 0


def test_cancel_does_not_wait_for_a_heartbeat(site: Site) -> None:
    run = site.command("sleep 1000")
    site.start(environ={"RQFLOW__WORKER__HEARTBEAT": "60s"})
    registered(site)
    site.until(run, "running")
    site.broker.cancel_task(run.key, "t", "me")
    site.until(run, "cancelled")


def test_suspended_worker_starts_nothing_until_it_is_resumed(site: Site) -> None:
    site.start()
    registered(site)
    suspend(site.db)
    until(lambda: site.broker.workers()[0].state == "paused", what="the worker to be suspended")
    run = site.command("true")
    until(lambda: "suspended" in site.said(), what="the worker to say so")
    assert site.task(run).state == "queued"
    resume(site.db)
    site.until(run, "success")


def test_rq_counts_what_it_did(site: Site) -> None:
    run = site.run(a_version(["good", "bad"], commands={"bad": "exit 1"}))
    site.start()
    site.until(run, "success", "good")
    site.until(run, "failed", "bad")

    def counted() -> bool:
        [worker] = StockWorker.all(connection=site.db, serializer=JSONSerializer)
        return (worker.successful_job_count, worker.failed_job_count, worker.get_state()) == (1, 1, "idle")

    until(counted, what="RQ's record")


@pytest.mark.parametrize("name", [[], ["--name", "mine"]])
def test_started_by_rq_itself(site: Site, name: list[str]) -> None:
    run = site.run(a_version({"a": [], "b": ["a"]}))
    site.admit(site.folder / "state" / "worker")
    argv = [RQ, "worker", "-w", "rqflow.worker.Worker", "--serializer", "json", "--burst", "--url", site.url, *name]
    done = subprocess.run(argv, env=site.environ, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert site.states(run) == {"a": "success", "b": "success"}


def test_rq_info_understands_the_class(site: Site) -> None:
    site.start()
    name = registered(site).name
    done = subprocess.run([RQ, "info", "-w", "rqflow.worker.Worker", "--url", site.url], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert name in done.stdout
