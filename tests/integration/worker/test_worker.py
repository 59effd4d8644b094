"""Workers as real processes on a real Redis: what becomes of tasks."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rqflow.broker.logstream import LogStream
from rqflow.recorder.archive import LogArchive
from tests.integration.worker.conftest import RQ, Site
from tests.profile import KILL_GRACE, NOISE, PATIENCE
from tests.unit.builders import a_task, a_version
from tests.waiting import is_alive, until


def test_diamond_runs_to_its_end(site: Site, tmp_path: Path) -> None:
    line = f"echo $RQFLOW_TASK_ID >> {tmp_path}/order"
    run = site.run(a_version({"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}, commands=dict.fromkeys("abcd", line)))
    site.work()
    assert set(site.states(run).values()) == {"success"}
    order = (tmp_path / "order").read_text().split()
    assert (order[0], sorted(order[1:3]), order[3]) == ("a", ["b", "c"], "d")


def test_end_carries_facts(site: Site) -> None:
    run = site.command("echo out; for i in {1..20000}; do :; done; exit 3")
    site.work()
    end = site.end_of(run)
    assert (end["state"], end["reason"]) == ("failed", "exit code 3")
    facts = end["facts"]
    assert (facts["host"], facts["exit_code"]) == (socket.gethostname(), 3)
    assert facts["pid"] > 1
    assert facts["cpu_seconds"] > 0
    assert facts["max_rss_bytes"] > 1 << 20
    assert facts["log_bytes"] == len(site.log(run))
    assert int(end["started_at"]) <= int(end["ended_at"])


def test_last_line_of_the_log_tells_the_end(site: Site) -> None:
    run = site.command("echo out; echo err >&2; printf partial; exit 3")
    site.work()
    *printed, last = site.log(run).splitlines()
    assert printed == ["out", "err", "partial"]
    assert last.startswith("rqflow: exit code 3, 0.")
    assert " s, CPU 0." in last
    assert last.endswith(" MB")


def test_last_line_printed_is_the_xcom(site: Site) -> None:
    commands = {"a": "echo first; echo 'lä st'", "b": "echo {{ ti.xcom_pull(task_ids='a') | shquote }}"}
    run = site.run(a_version({"a": [], "b": ["a"]}, commands=commands))
    site.work()
    assert site.broker.xcoms(run.key)["a"] == {"return_value": '"lä st"'}
    assert site.log(run, "b").splitlines()[0] == "lä st"


def test_skip_code_and_retries(site: Site) -> None:
    """Reliability 32, and tries that follow at once."""
    specs = [
        a_task("skips", "exit 99"),
        a_task("follows"),
        a_task("second", '[ "$RQFLOW_TRY" = 2 ]', retries=3, retry_delay=0.0),
        a_task("never", "exit 4", retries=2, retry_delay=0.0),
    ]
    run = site.run(a_version({"skips": [], "follows": ["skips"], "second": [], "never": []}, specs=specs))
    site.work()
    assert site.states(run) == {"skips": "skipped", "follows": "skipped", "second": "success", "never": "failed"}
    assert (site.task(run, "second").try_number, site.task(run, "never").try_number) == (2, 3)


def test_retry_waits_for_its_delay(site: Site) -> None:
    run = site.command("exit 1", retries=1, retry_delay=60.0)
    site.work()
    status = site.task(run)
    assert (status.state, status.reason) == ("up_for_retry", "exit code 1")
    assert status.due_at
    assert status.ended_at
    assert 59 < (status.due_at - status.ended_at).total_seconds() < 61


def test_command_of_200_kb(site: Site) -> None:
    run = site.command("# " + "ä" * 100_000 + "\necho 'grüße'")
    site.work()
    assert "grüße" in site.log(run)


def test_private_folder_is_fresh_and_removed(site: Site) -> None:
    version = a_version({"a": [], "b": ["a"]}, commands=dict.fromkeys("ab", "pwd; ls -A; mkdir -p x/y; touch x/y/f; cd x; ls"))
    run = site.run(version)
    site.work(slots=1)
    for task_id in "ab":
        folder, first, *_ = site.log(run, task_id).splitlines()
        assert first == "y"
        assert folder.startswith(str(site.folder))
        assert not Path(folder, "x").exists()


def test_folder_in_which_something_was_left_running_is_not_used_again(site: Site, tmp_path: Path, reap: Callable[[int], None]) -> None:
    site.start(slots=1)
    site.until(site.command(f"sleep 1000 & echo $! > {tmp_path}/pid; pwd > {tmp_path}/first"), "success")
    reap(int((tmp_path / "pid").read_text()))
    folder = Path((tmp_path / "first").read_text().strip())
    archive = LogArchive(LogStream(site.db), tmp_path / "logs")
    until(lambda: archive.step(block_ms=10) is None or not (folder.parent / "log").exists(), what="the log to be archived")
    site.until(site.run(a_version(["next"], commands={"next": f"pwd > {tmp_path}/second"}), run_id="next"), "success", "next")
    assert (tmp_path / "second").read_text() != f"{folder}\n"


def test_given_folder_and_umask(site: Site, tmp_path: Path) -> None:
    site.command("umask; touch made", umask="027", fields={"cwd": str(tmp_path)})
    site.work()
    assert oct((tmp_path / "made").stat().st_mode & 0o777) == "0o640"


def test_missing_folder_fails_the_try_with_its_name(site: Site) -> None:
    run = site.command("true", fields={"cwd": "/no/such/folder"})
    site.work()
    assert (site.task(run).state, site.task(run).reason) == ("failed", "could not be started: its folder /no/such/folder does not exist")
    assert "rqflow: could not be started: its folder /no/such/folder" in site.log(run)


def test_template_error_fails_the_try_and_the_worker_lives(site: Site) -> None:
    run = site.run(a_version(["bad", "good"], commands={"bad": "echo {{ nonsense }}", "good": "echo {{ ds }}"}))
    site.work(slots=1)
    assert site.states(run) == {"bad": "failed", "good": "success"}
    assert "unknown variable 'nonsense'" in site.task(run, "bad").reason
    assert "rqflow: task bad: bash_command, line 1: unknown variable 'nonsense'" in site.log(run, "bad")
    assert "2024-01-01" in site.log(run, "good")


def test_unsupported_operator_fails_without_retry(site: Site) -> None:
    run = site.command("true", unsupported="airflow.x.Y is not supported yet", retries=3, retry_delay=0.0)
    site.work()
    assert (site.task(run).state, site.task(run).try_number, site.task(run).reason) == ("failed", 1, "airflow.x.Y is not supported yet")


def test_unsafe_conf_does_not_reach_the_shell(site: Site, tmp_path: Path) -> None:
    """Reliability 76."""
    evil = f"$(touch {tmp_path}/x); '\""
    version = a_version(
        ["raw", "quoted", "env"],
        specs=[a_task("env", 'echo "$V"', fields={"env": {"V": "{{ dag_run.conf.v }}"}, "append_env": True})],
        commands={"raw": "echo {{ dag_run.conf.v }}", "quoted": "echo {{ dag_run.conf.v | shquote }}"},
    )
    run = site.run(version, conf={"v": evil})
    site.work()
    assert site.states(run) == {"raw": "failed", "quoted": "success", "env": "success"}
    assert "dag_run.conf" in site.task(run, "raw").reason
    assert site.log(run, "quoted").splitlines()[0] == evil
    assert site.log(run, "env").splitlines()[0] == evil
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(("pipefail", "state"), [(None, "success"), (True, "failed")])
def test_pipefail(site: Site, pipefail: bool | None, state: str) -> None:
    """Reliability 84, first half."""
    run = site.command("false | true", fields={"pipefail": pipefail})
    site.work()
    assert site.task(run).state == state


def test_kill_9_of_a_task_is_told_with_the_signal(site: Site) -> None:
    """Reliability 53, 83."""
    run = site.command("echo before; kill -9 $$")
    site.work()
    assert site.task(run).reason.startswith("killed by signal 9 (KILL), perhaps out of memory: peak memory ")
    assert site.end_of(run)["facts"]["signal"] == 9
    assert site.log(run).splitlines()[0] == "before"
    assert "rqflow: killed by signal 9 (KILL), perhaps out of memory" in site.log(run)


def test_timeout(site: Site) -> None:
    """Reliability 21."""
    run = site.command('trap "" TERM; sleep 100', execution_timeout=0.3)
    site.work()
    status = site.task(run)
    assert (status.state, status.reason) == ("failed", "timeout after 0.3s")
    assert "rqflow: timeout after 0.3s (killed by signal 9 (KILL))" in site.log(run)
    assert status.ended_at
    assert status.started_at
    assert (status.ended_at - status.started_at).total_seconds() < 0.3 + KILL_GRACE + NOISE


def test_cancel_ends_a_task_with_all_that_left_it(site: Site) -> None:
    """Reliability 20."""
    left = "(sleep 1000 & echo $!); setsid sleep 1000 & echo $!; nohup sleep 1000 & echo $!"
    run = site.command(f"{left}; touch ready; sleep 1000", fields={"cwd": str(site.folder)})
    site.start()
    site.until(run, "running")
    until((site.folder / "ready").exists, what="the task to start")
    site.broker.cancel_task(run.key, "t", "me")
    site.until(run, "cancelled")
    until(lambda: "rqflow: cancelled" in site.log(run), what="its log")
    pids = [int(line) for line in site.log(run).splitlines() if line.isdecimal()]
    assert len(pids) == 3
    assert [pid for pid in pids if is_alive(pid)] == []


def test_cancelled_run_stops_what_runs_and_starts_nothing(site: Site, tmp_path: Path) -> None:
    """Reliability 28, first half."""
    run = site.run(a_version({"t": [], "after": ["t"]}, commands={"t": "sleep 1000", "after": f"touch {tmp_path}/after"}))
    site.start()
    site.until(run, "running")
    site.broker.cancel_run(run.key, "me")
    site.until(run, "cancelled")
    assert site.states(run) == {"t": "cancelled", "after": "cancelled"}
    assert not (tmp_path / "after").exists()


def test_many_tasks_on_two_workers_run_once_each(site: Site, tmp_path: Path) -> None:
    # The first five do not end before they all run, which takes more slots than one worker has.
    once = f"cd {tmp_path}; set -C; echo $$ > $RQFLOW_TASK_ID; while [ $(ls m* | wc -l) -lt 5 ]; do sleep 0.02; done"
    names = [f"m{number}" for number in range(60)]
    edges = {"a": [], **{name: ["a"] for name in names}, "z": names}
    for name in ("one", "two"):
        site.start(work_dir=str(site.folder / name))
    run = site.run(a_version(edges, commands=dict.fromkeys(names, once)))
    until(lambda: set(site.states(run).values()) == {"success"}, what="the run to end")
    assert len({status.worker for status in site.broker.task_statuses(run.key)}) == 2


def test_labels_decide_who_runs_a_task(site: Site) -> None:
    run = site.command("true", worker_labels=("gpu",))
    site.work()
    assert site.task(run).state == "parked"
    site.work(labels=["gpu"])
    assert site.task(run).state == "success"


def test_worker_of_another_queue_leaves_a_task_alone(site: Site) -> None:
    run = site.command("true", queue="other")
    site.work()
    assert site.task(run).state == "queued"
    site.work(queues=["default", "other"])
    assert site.task(run).state == "success"


def test_ends_after_max_tasks(site: Site) -> None:
    run = site.run(a_version(["a", "b", "c"]))
    assert site.start(max_tasks=2).wait(PATIENCE) == 0
    assert sorted(site.states(run).values()) == ["queued", "success", "success"]


def test_idle_worker_wakes_at_once_and_ends_when_idle(site: Site) -> None:
    worker = site.start(idle_exit=5.0, environ={"RQFLOW__WORKER__HEARTBEAT": "60s", "RQFLOW__WORKER__LEASE": "360s"})
    until(lambda: site.broker.workers(), what="the worker to register")
    status = site.until(site.command("true"), "success")
    assert status.started_at
    assert status.queued_at
    assert (status.started_at - status.queued_at).total_seconds() < NOISE
    assert worker.wait(PATIENCE) == 0
    assert site.broker.workers() == []


def test_second_worker_on_a_work_dir_is_refused(site: Site) -> None:
    site.start()
    until(lambda: site.broker.workers(), what="the worker to register")
    assert site.start().wait(PATIENCE) == 5
    assert "another worker uses the work_dir" in site.said()


def test_pickle_in_a_queue_is_never_read(site: Site, tmp_path: Path) -> None:
    """Reliability 74."""
    evil = b"cos\nsystem\n(S'touch " + str(tmp_path / "x").encode() + b"'\ntR."
    site.db.hset("rq:job:evil", mapping={"data": evil, "created_at": "2024-01-01T00:00:00Z", "origin": "default", "status": "queued"})
    site.db.sadd("rq:queues", "rq:queue:default")
    site.db.rpush("rq:queue:default", "evil", evil)
    run = site.command("true")
    site.work()
    assert site.task(run).state == "success"
    assert not (tmp_path / "x").exists()
    assert site.db.llen("rq:queue:default") == 2


def test_registered_with_rq_as_long_as_it_lives(site: Site) -> None:
    worker = site.start(slots=3, labels=["gpu"])
    [found] = until(lambda: [w for w in site.broker.workers() if w.slots > 1], what="the worker to register")
    assert (found.host, found.pid, found.slots, found.labels) == (socket.gethostname(), worker.pid, 3, ("gpu",))
    assert found.name.startswith(f"{socket.gethostname()}.")
    said = subprocess.run([RQ, "info", "--url", site.url], capture_output=True, text=True, check=True)
    assert found.name in said.stdout
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE) == 0
    assert site.broker.workers() == []
    assert "Traceback" not in site.said(), site.said()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 KB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", folder], capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_full_disk_fails_the_task_with_that_message_and_the_worker_lives(site: Site, small_disk: Path) -> None:
    run = site.run(a_version({"fills": [], "writes": []}, commands={"fills": "head -c 5000000 /dev/zero", "writes": "head -c 1000000 /dev/zero > f"}))
    worker = site.start(work_dir=str(small_disk / "work"), slots=1)
    site.until(run, "failed", "fills")
    site.until(run, "failed", "writes")
    assert site.task(run, "fills").reason == "exit code 1; its log is incomplete: No space left on device"
    (small_disk / "work" / "tries" / "1" / "log").unlink(missing_ok=True)
    more = site.run(a_version(["more"]), run_id="more")
    site.until(more, "success", "more")
    assert worker.poll() is None
