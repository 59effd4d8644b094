"""A stock `rq worker`, in its forked horse, and beside our own workers."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from rqflow.broker.broker import Broker
from rqflow.broker.events import EventStream
from rqflow.broker.faults import SetBack
from rqflow.broker.keys import LEADER, RQ_JOB
from rqflow.broker.messages import Ending
from rqflow.worker.admission import Admission
from rqflow.worker.stock import Horse
from tests.integration.worker.conftest import ROOT, RQ, Site
from tests.profile import PATIENCE
from tests.unit.builders import a_task, a_version
from tests.waiting import is_alive, until


def stock(site: Site, *options: str) -> subprocess.Popen[bytes]:
    """Start a stock worker."""
    argv = [str(RQ), "worker", "--serializer", "json", "--url", site.url, *options]
    with (site.folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, env=site.environ, cwd=ROOT, start_new_session=True)
    site.processes.append(process)
    return process


def burst(site: Site) -> None:
    """Run a stock worker until RQ's lists are empty."""
    assert stock(site, "--burst").wait(PATIENCE) == 0, site.said()


def status_in_rq(site: Site, job_id: str) -> str:
    return site.db.hget(f"{RQ_JOB}{job_id}", "status").decode()


def test_runs_tasks_with_all_that_belongs_to_them(site: Site, tmp_path: Path) -> None:
    specs = [
        a_task("a", "echo out; echo $RQFLOW_TASK_ID; pwd; umask", umask="027"),
        a_task("skips", "exit 99"),
        a_task("fails", f"touch {tmp_path}/f; exit 3", outputs=(f"{tmp_path}/f",)),
        a_task("slow", 'trap "" TERM; sleep 100', execution_timeout=0.2),
        a_task("bad", "echo {{ nonsense }}"),
    ]
    run = site.run(a_version({"a": [], "skips": ["a"], "fails": ["a"], "slow": [], "bad": []}, specs=specs))
    burst(site)
    assert site.states(run) == {"a": "success", "skips": "skipped", "fails": "failed", "slow": "failed", "bad": "failed"}
    out, name, folder, umask, last = site.log(run, "a").splitlines()
    assert (out, name, umask) == ("out", "a", "0027")
    assert last.startswith("rqflow: exit code 0, ")
    assert not Path(folder).exists()
    assert site.end_of(run, "fails")["facts"]["exit_code"] == 3
    assert site.task(run, "slow").reason == "timeout after 0.2s"
    assert Path(f"{tmp_path}/f.partial-1").exists()
    for status in site.broker.task_statuses(run.key):
        expected = {"success": "finished", "skipped": "finished", "failed": "failed"}[status.state]
        assert status_in_rq(site, status.job_id) == expected


def test_passes_retries_on(site: Site) -> None:
    run = site.command('[ "$RQFLOW_TRY" = 2 ]', retries=1, retry_delay=0.0)
    burst(site)
    assert (site.task(run).state, site.task(run).try_number) == ("success", 2)


def test_refused_job_keeps_its_place(site: Site) -> None:
    """A pool that is full: the job that RQ has popped is parked, and shows so in RQ."""
    site.broker.set_pool("p", 1)
    run = site.run(a_version(["one", "two"], each={"pool": "p"}, commands=dict.fromkeys(("one", "two"), "sleep 0.3")))
    workers = [stock(site, "--burst"), stock(site, "--burst")]
    for worker in workers:
        worker.wait(PATIENCE)
    burst(site)
    assert site.states(run) == {"one": "success", "two": "success"}


def test_cancel_reaches_its_task(site: Site) -> None:
    run = site.command("setsid sleep 1000 & echo $! > straggler; touch ready; sleep 1000", fields={"cwd": str(site.folder)})
    stock(site)
    until((site.folder / "ready").exists, what="the task to start")
    site.broker.cancel_task(run.key, "t", "me")
    site.until(run, "cancelled")
    assert not is_alive(int((site.folder / "straggler").read_text()))


def test_cancel_ends_its_task_as_a_person_says(site: Site) -> None:
    run = site.command("trap 'touch told' USR1; trap 'touch term' TERM; touch ready; while :; do sleep 0.05; done", fields={"cwd": str(site.folder)})
    site.environ["RQFLOW__WORKER__KILL_GRACE"] = "1h"
    stock(site)
    until((site.folder / "ready").exists, what="the task to start")
    site.broker.cancel_task(run.key, "t", "me", Ending(number=signal.SIGUSR1))
    until((site.folder / "told").exists, what="the signal to arrive")
    assert site.task(run).state == "running"
    site.broker.cancel_task(run.key, "t", "me", Ending(grace=0))
    site.until(run, "cancelled")
    assert not (site.folder / "term").exists()


def test_horse_that_is_killed_takes_its_task_with_it(site: Site) -> None:
    run = site.command("echo $$ > pid.new; mv pid.new pid; exec sleep 1000", fields={"cwd": str(site.folder)})
    stock(site)
    file = site.folder / "pid"
    until(file.exists, what="the task to start")
    pid = int(file.read_text())
    horse = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(horse, signal.SIGKILL)
    until(lambda: not is_alive(pid), what="the task to die")
    assert site.task(run).state == "running"


def test_task_survives_the_stock_worker_itself(site: Site) -> None:
    run = site.command("touch ready; while [ ! -e go ]; do sleep 0.05; done", fields={"cwd": str(site.folder)})
    worker = stock(site)
    until((site.folder / "ready").exists, what="the task to start")
    worker.kill()
    worker.wait()
    (site.folder / "go").touch()
    assert site.until(run, "success").try_number == 1


def test_worker_that_does_not_fork_is_refused_before_it_claims(site: Site) -> None:
    run = site.command("true")
    stock(site, "--burst", "-w", "rq.worker.SimpleWorker").wait(PATIENCE)
    assert site.task(run).state == "queued"
    assert "runs jobs within its own process" in site.said()
    site.work()
    assert site.task(run).state == "success"


def test_beside_our_worker_each_task_runs_once(site: Site, tmp_path: Path) -> None:
    names = [f"m{number}" for number in range(6)]
    # The first two do not end before both run, which takes both workers.
    once = f"cd {tmp_path}; set -C; echo > $RQFLOW_TASK_ID; while [ $(ls m* | wc -l) -lt 2 ]; do sleep 0.02; done"
    theirs = stock(site)
    site.start(slots=1)
    run = site.run(a_version({"a": [], **{name: ["a"] for name in names}, "z": names}, commands=dict.fromkeys(names, once)))
    until(lambda: set(site.states(run).values()) == {"success"}, what=f"the run to end: {site.states(run)}")
    theirs.send_signal(signal.SIGTERM)
    assert theirs.wait(PATIENCE) == 0
    assert len({status.worker for status in site.broker.task_statuses(run.key)}) == 2


def test_a_horse_does_not_take_a_redis_that_was_just_emptied_for_one_without_a_leader(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    horse = Horse(Broker(site.db, site.settings, caller="w"), site.settings, Admission(None))
    assert horse._broker.announce_held([], {}).is_heard
    site.db.set(LEADER, "hub")
    exists = site.db.exists

    def emptied_before(*names: str) -> int:
        site.db.flushall()
        return exists(*names)

    monkeypatch.setattr(site.db, "exists", emptied_before)
    with pytest.raises(SetBack):
        horse._is_recorded(EventStream(site.db), "9-9")
