"""Workers that end, are killed or lose Redis, and what happens to their tasks."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from rqflow.dag.run import RunInfo
from tests.integration.worker.conftest import Site, is_alive
from tests.profile import PATIENCE
from tests.services import redis_server
from tests.unit.builders import a_version
from tests.waiting import until

#: Says that it runs and how often it was started, and ends when told.
WAITS = "echo $$ >> started; while [ ! -e go ]; do sleep 0.05; done; echo done"


def waiting(site: Site, command: str = WAITS) -> RunInfo:
    return site.command(command, fields={"cwd": str(site.folder)})


def started(site: Site) -> list[int]:
    """The pids of all starts of the waiting task."""
    path = site.folder / "started"
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def go(site: Site) -> None:
    (site.folder / "go").touch()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_task_outlives_its_worker_and_the_next_one_takes_it_over(site: Site, number: signal.Signals) -> None:
    """Reliability 1: one try, one start, its log whole."""
    run = waiting(site)
    first = site.start()
    until(lambda: started(site), what="the task to start")
    first.send_signal(number)
    assert first.wait(PATIENCE) == (0 if number == signal.SIGTERM else -number)
    second = site.start(idle_exit=1.0)
    until(lambda: any(worker.pid == second.pid for worker in site.broker.workers()), what="the second worker")
    go(site)
    status = site.until(run, "success")
    assert status.try_number == 1
    assert len(started(site)) == 1
    assert second.wait(PATIENCE) == 0
    assert site.log(run).splitlines()[0] == "done"
    assert site.end_of(run)["facts"]["exit_code"] == 0


def test_end_between_two_workers_is_told_by_the_second(site: Site) -> None:
    run = waiting(site, f"{WAITS}; exit 3")
    first = site.start()
    pid = until(lambda: started(site), what="the task to start")[0]
    first.kill()
    first.wait()
    go(site)
    until(lambda: not is_alive(pid), what="the task to end")
    assert site.task(run).state == "running"
    site.work()
    status = site.task(run)
    assert (status.state, status.reason) == ("failed", "exit code 3")
    assert site.log(run).splitlines()[0] == "done"


def test_shepherd_that_is_killed_is_replaced_and_its_task_is_lost_only_at_its_end(site: Site) -> None:
    run = waiting(site)
    site.start()
    pid = until(lambda: started(site), what="the task to start")[0]
    shepherd = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    until(lambda: any(path.stat().st_size for path in site.folder.rglob("shepherd.journal")), what="the start to be in the journal")
    os.kill(shepherd, signal.SIGKILL)
    until(lambda: "starting another one" in site.said(), what="the worker to notice")
    assert site.task(run).state == "running"
    assert is_alive(pid)
    go(site)
    status = site.until(run, "lost")
    assert "exit code is unknown" in status.reason


def test_drain_waits_for_tasks_and_starts_no_more(site: Site) -> None:
    run = waiting(site)
    worker = site.start(on_stop="drain", slots=2)
    until(lambda: started(site), what="the task to start")
    worker.send_signal(signal.SIGTERM)
    until(lambda: "stopping: drain" in site.said(), what="the worker to drain")
    other = site.run(a_version(["late"]), run_id="other")
    go(site)
    assert worker.wait(PATIENCE) == 0
    assert site.task(run).state == "success"
    assert site.task(other, "late").state == "queued"


@pytest.mark.parametrize("again", [False, True])
def test_stop_with_kill_gives_the_same_try_back(site: Site, again: bool) -> None:
    """`kill` ends tasks by TERM; a second signal does at once, whatever --on-stop says."""
    run = waiting(site, f"trap '' TERM; {WAITS}" if again else WAITS)
    worker = site.start(on_stop="drain" if again else "kill")
    pid = until(lambda: started(site), what="the task to start")[0]
    worker.send_signal(signal.SIGTERM)
    if again:
        until(lambda: "stopping: drain" in site.said(), what="the worker to drain")
        worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE) == 0
    assert not is_alive(pid)
    status = site.task(run)
    assert (status.state, status.try_number) == ("queued", 1)
    go(site)
    site.work()
    assert (site.task(run).state, len(started(site))) == ("success", 2)


def test_worker_lives_on_while_redis_is_away(site: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("own")
    options = ["--appendonly", "yes", "--appendfsync", "always"]
    with redis_server(folder, *options) as url:
        site.url = url
        site.reconnect()
        run = waiting(site)
        worker = site.start()
        until(lambda: started(site), what="the task to start")
    go(site)
    until(lambda: "Redis does not answer" in site.said(), what="the worker to notice")
    assert worker.poll() is None
    with redis_server(folder, *options):
        site.reconnect()
        status = site.until(run, "success")
        assert (status.try_number, len(started(site))) == (1, 1)
        other = site.run(a_version(["more"]), run_id="more")
        site.until(other, "success", "more")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE) == 0
