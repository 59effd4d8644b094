"""Workers that end, are killed or lose Redis, and what happens to their tasks."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from pathlib import Path

import pytest
from rq.command import send_stop_job_command
from rq.serializers import JSONSerializer

from rqflow.broker import keys, protocol
from rqflow.broker.logstream import LogStream
from rqflow.dag.run import RunInfo
from rqflow.recorder.archive import LogArchive
from rqflow.worker.shepherd_client import ShepherdClient
from tests.integration.worker.conftest import LINGER, PATH, Site
from tests.profile import PATIENCE
from tests.services import redis_server
from tests.unit.builders import a_version
from tests.waiting import is_alive, until

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


def test_kill_that_was_begun_keeps_its_meaning_for_the_next_worker(site: Site) -> None:
    command = "trap '' TERM; touch ready; while :; do sleep 0.05; done"
    run = site.command(command, retries=3, retry_delay=0.0, fields={"cwd": str(site.folder)})
    first = site.start(environ={"RQFLOW__WORKER__KILL_GRACE": "2s"})
    until((site.folder / "ready").exists, what="the task to start")
    send_stop_job_command(site.db, site.task(run).job_id, serializer=JSONSerializer)
    until(lambda: "received the command stop-job" in site.said(), what="the worker to obey")
    first.send_signal(signal.SIGTERM)
    assert first.wait(PATIENCE) == 0
    assert site.task(run).state == "running"
    site.start()
    status = site.until(run, "failed")
    assert (status.reason, status.try_number) == ("stopped by a person", 1)


def test_shepherd_that_is_killed_is_replaced_and_its_task_is_lost_only_at_its_end(site: Site) -> None:
    """Reliability 2, 3: what nobody saw the end of is lost when nothing of it runs any more, never before."""
    run = waiting(site)
    site.start()
    pid = until(lambda: started(site), what="the task to start")[0]
    shepherd = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(shepherd, signal.SIGKILL)
    until(lambda: "starting another one" in site.said(), what="the worker to notice")
    assert site.task(run).state == "running"
    assert is_alive(pid)
    go(site)
    status = site.until(run, "lost")
    assert "exit code is unknown" in status.reason


def test_end_that_a_killed_shepherd_was_not_told_to_forget_is_forgotten_by_the_next(site: Site) -> None:
    def ends() -> list[str]:
        with closing(ShepherdClient(site.folder / "work", env={"PATH": PATH}, linger=LINGER, role="")) as client:
            return [entry.id for entry in client.connect()[1]]

    site.start()
    site.until(site.command("true"), "success")
    with closing(ShepherdClient(site.folder / "work", env={"PATH": PATH}, linger=LINGER, role="")) as client:
        client.connect()
        os.kill(client.pid, signal.SIGSTOP)
        archive = LogArchive(LogStream(site.db), site.folder / "logs")
        log = site.folder / "work" / "tries" / "1" / "log"
        until(lambda: archive.step(block_ms=10) is None or not log.exists(), what="the log to be archived")
        os.kill(client.pid, signal.SIGKILL)
    until(lambda: "starting another one" in site.said(), what="the worker to notice")
    until(lambda: not ends(), what="the journal to be empty")


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


def test_draining_worker_leaves_the_bell_to_others(site: Site) -> None:
    waiting(site)
    draining = site.start(on_stop="drain", slots=2)
    until(lambda: started(site), what="the task to start")
    site.start(work_dir=str(site.folder / "other"), environ={"RQFLOW__WORKER__HEARTBEAT": "60s"})
    until(lambda: len(site.broker.workers()) == 2, what="both workers to register")
    draining.send_signal(signal.SIGTERM)
    until(lambda: "stopping: drain" in site.said(), what="the worker to drain")
    late = site.run(a_version(["late"]), run_id="late")
    assert site.until(late, "success", "late")


def test_success_that_a_stop_with_kill_came_too_late_for_stands(site: Site) -> None:
    run = waiting(site)
    worker = site.start(on_stop="kill")
    pid = until(lambda: started(site), what="the task to start")[0]
    journal = site.folder / "work" / "shepherd.journal"
    worker.send_signal(signal.SIGSTOP)
    go(site)
    until(lambda: not is_alive(pid) and '"what":"end"' in journal.read_text(), what="the shepherd to tell the end")
    worker.send_signal(signal.SIGTERM)
    worker.send_signal(signal.SIGCONT)
    assert worker.wait(PATIENCE) == 0
    assert site.task(run).state == "success"


def test_kill_that_its_shepherd_did_not_live_to_see_is_asked_of_the_next(site: Site) -> None:
    run = waiting(site)
    worker = site.start(on_stop="kill")
    pid = until(lambda: started(site), what="the task to start")[0]
    worker.send_signal(signal.SIGSTOP)
    os.kill(int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)
    worker.send_signal(signal.SIGTERM)
    worker.send_signal(signal.SIGCONT)
    assert worker.wait(PATIENCE) == 0
    assert not is_alive(pid)
    assert site.task(run).state == "queued"


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


def test_worker_that_comes_back_to_a_much_newer_hub_ends_and_leaves_its_task(site: Site) -> None:
    run = waiting(site)
    worker = site.start()
    pid = until(lambda: started(site), what="the task to start")[0]
    name = site.broker.workers()[0].name
    newer = {"hostname": "hub", "pid": "1", "rqflow": "77.1", "protocol": str(protocol.PROTOCOL + 2)}
    site.db.sadd(keys.RQ_WORKERS, f"{keys.RQ_WORKER}newer")
    site.db.hset(f"{keys.RQ_WORKER}newer", mapping=newer)
    site.db.delete(keys.RQ_WORKER + name)
    assert worker.wait(PATIENCE) == 5
    assert "is too old to work with worker newer on hub" in site.said()
    assert is_alive(pid)
    site.db.srem(keys.RQ_WORKERS, f"{keys.RQ_WORKER}newer")
    site.start()
    go(site)
    assert site.until(run, "success").try_number == 1


def test_second_signal_ends_a_worker_that_cannot_ask_redis_what_its_task_was(site: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    with redis_server(tmp_path_factory.mktemp("own")) as url:
        site.url = url
        site.reconnect()
        waiting(site)
        first = site.start()
        pid = until(lambda: started(site), what="the task to start")[0]
        first.kill()
        first.wait()
        # The second worker finds Redis, and cannot register before it is gone.
        site.db.client_pause(60_000, all=False)
        second = site.start(on_stop="drain")
        until(lambda: site.said().count("Redis keeps nothing on disk") == 2, what="the second worker to find Redis")
    go(site)
    until(lambda: not is_alive(pid), what="the task to end without Redis")
    try:
        until(lambda: "Redis does not answer" in site.said(), what="the worker to miss Redis")
    except AssertionError:
        raise AssertionError(f"the worker (exit code {second.poll()}) does not miss Redis; it said: {site.said()}") from None
    for how in ("drain", "kill"):
        second.send_signal(signal.SIGTERM)
        until(lambda: f"stopping: {how}" in site.said(), what="the worker to hear it")  # noqa: B023 (called before the next turn)
    assert second.wait(PATIENCE) == 0
