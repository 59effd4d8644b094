"""The shepherd with real processes and real signals."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rqflow import process
from rqflow.worker import processes
from rqflow.worker.shepherd_client import ShepherdClient, ShepherdGone
from tests.integration.worker.conftest import LINGER, PATH, Herd
from tests.profile import KILL_GRACE, NOISE
from tests.waiting import is_alive, until


def test_end_tells_status_time_and_memory(herd: Herd) -> None:
    ended = herd.run("x=; for i in {1..20000}; do x=$i; done; exit 3")
    assert ended.status is not None
    assert os.waitstatus_to_exitcode(ended.status) == 3
    assert 0 < ended.cpu < 10
    assert ended.rss > 1 << 20
    assert 0 <= ended.started <= ended.ended
    assert (ended.killed, ended.error) == ("", "")


def test_task_has_a_session_and_a_private_log_and_no_input(herd: Herd) -> None:
    name = herd.bash("ps -o sid= -p $$; cat; echo error >&2; echo $BASE $MORE", env={"MORE": "2"})
    ended = herd.end(name)
    sid, error, variables = herd.log(name).decode().split("\n", 2)
    assert (int(sid), error, variables) == (ended.pid, "error", "1 2\n")
    assert stat.S_IMODE((herd.folder / f"{name}.log").stat().st_mode) == 0o600


def test_log_is_appended_to(herd: Herd) -> None:
    (herd.folder / "here.log").write_text("before\n")
    herd.run("echo after", log=str(herd.folder / "here.log"))
    assert herd.log("here") == b"before\nafter\n"


def test_environment_without_inheritance(herd: Herd) -> None:
    name = herd.start("/usr/bin/env", env={"ONLY": "this"}, inherit=False)
    herd.end(name)
    assert set(herd.log(name).decode().split()) == {"ONLY=this", f"RQFLOW_EXECUTION={name}"}


def test_folder_and_umask(herd: Herd, tmp_path: Path) -> None:
    folder = tmp_path / "Ordner mit Leerzeichen äöü"
    folder.mkdir()
    assert herd.output("pwd > where; umask", cwd=str(folder), umask="027") == b"0027\n"
    assert herd.output("umask", cwd=str(folder)) == b"0022\n"
    assert (folder / "where").read_text() == f"{folder}\n"
    assert stat.S_IMODE((folder / "where").stat().st_mode) == 0o640


def test_command_is_found_on_the_path_of_the_task(herd: Herd, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "mine"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho mine\n")
    program.chmod(0o755)
    ended = herd.end(herd.start("mine", env={"PATH": f"{program.parent}:{PATH}"}))
    assert herd.log(ended.id) == b"mine\n"


@pytest.mark.parametrize(
    ("argv", "fields", "words"),
    [
        (["no-such-program"], {}, "No such file"),
        (["bash", "-c", "true"], {"cwd": "/no/such/folder"}, "its folder /no/such/folder does not exist"),
        (["bash", "-c", "x" * (3 << 20)], {}, "too large for the kernel"),
        (["bash", "-c", "a\0b"], {}, "null"),
        (["bash", "-c", "true"], {"umask": "9"}, "invalid literal"),
    ],
)
def test_what_cannot_be_started_is_told(herd: Herd, argv: list[str], fields: dict[str, str], words: str) -> None:
    ended = herd.end(herd.start(*argv, **fields))
    assert ended.pid == 0
    assert words in ended.error


def test_message_of_200_kb_arrives(herd: Herd) -> None:
    text = "ä" * 100_000
    name = herd.start("bash", "-c", "wc -c < big", cwd=str(herd.folder), memo=text)
    (herd.folder / "big").write_text(text)
    herd.end(name)
    herd.client.close()
    _, _, ended = herd.again()
    assert [(entry.id, entry.memo) for entry in ended] == [(name, text)]


def test_signals_that_python_ignores_work_in_tasks(herd: Herd) -> None:
    assert herd.output("yes | head -1; echo ${PIPESTATUS[0]}; trap") == b"y\n141\n"


def test_kill_9_from_outside_is_no_kill_of_ours(herd: Herd) -> None:
    name = herd.bash("echo $$; sleep 1000")
    pid = int(herd.said(name, "\n"))
    os.kill(pid, signal.SIGKILL)
    ended = herd.end(name)
    assert ended.status is not None
    assert os.WTERMSIG(ended.status) == signal.SIGKILL
    assert (ended.killed, ended.oom) == ("", False)


def test_kill_sends_term_first(herd: Herd) -> None:
    name = herd.bash("trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.01; done")
    herd.said(name, "ready")
    herd.client.kill(name, "cancelled", 10.0)
    herd.client.flush()
    ended = herd.end(name)
    assert ended.status is not None
    assert (os.waitstatus_to_exitcode(ended.status), ended.killed) == (5, "cancelled")
    assert b"caught" in herd.log(name)


def test_timeout_kills_what_ignores_term_with_its_children(herd: Herd) -> None:
    """Reliability 21."""
    began = time.monotonic()
    name = herd.bash('trap "" TERM; sleep 100 & echo $!; sleep 100', timeout=0.3)
    ended = herd.end(name)
    assert time.monotonic() - began < 0.3 + KILL_GRACE + NOISE
    assert ended.status is not None
    assert (os.WTERMSIG(ended.status), ended.killed, ended.survivors) == (signal.SIGKILL, "timeout", ())
    assert not is_alive(int(herd.log(name)))


def test_no_timeout_unless_asked(herd: Herd) -> None:
    """Reliability 82: nothing ends a task that has no timeout."""
    name = herd.bash("echo on; sleep 2; echo over")
    assert herd.end(name).status == 0
    assert herd.log(name) == b"on\nover\n"


def test_kill_reaches_those_who_left_the_group(herd: Herd, reap: Callable[[int], None]) -> None:
    """Reliability 20, and a daemon that hides in a clean environment while its parent still lives."""
    name = herd.bash(
        "(sleep 1000 & echo $!) ; setsid sleep 1000 & echo $!; nohup sleep 1000 & echo $!;"
        "setsid env -i sleep 1000 & echo $!; setsid setsid sleep 1000 & echo $!; echo ready; sleep 1000",
    )
    pids = [int(word) for word in herd.said(name, "ready").split() if word.isdecimal()]
    assert len(pids) == 5
    for pid in pids:
        reap(pid)
    herd.client.kill(name, "cancelled", KILL_GRACE)
    herd.client.flush()
    ended = herd.end(name, patience=KILL_GRACE + 10)
    assert ended.survivors == ()
    assert [pid for pid in pids if is_alive(pid)] == []


def test_end_of_a_killed_task_waits_for_the_last_of_it(herd: Herd, reap: Callable[[int], None]) -> None:
    name = herd.bash("""setsid bash -c 'trap "" TERM; echo $$; sleep 1000' & echo ready; sleep 1000""")
    pid = next(int(word) for word in until(lambda: set(herd.said(name, "ready").split()) - {"ready"}))
    reap(pid)
    herd.client.kill(name, "cancelled", KILL_GRACE)
    herd.client.flush()
    herd.end(name)
    assert not is_alive(pid)


def test_success_leaves_daemons_alone_and_names_them(herd: Herd, reap: Callable[[int], None]) -> None:
    name = herd.bash("nohup sleep 1000 & while ! grep -q sleep /proc/$!/comm; do :; done; echo $!")
    ended = herd.end(name)
    pid = int(herd.log(name).split()[-1])
    reap(pid)
    assert is_alive(pid)
    assert list(ended.left) == [f"pid {pid} (sleep 1000)"]


def test_failure_ends_the_rest_of_its_group_but_no_daemon_of_its_own_session(herd: Herd, reap: Callable[[int], None]) -> None:
    name = herd.bash("setsid sleep 1000 & echo $!; sleep 1000 & echo $!; sleep 0.1; exit 1")
    herd.end(name)
    daemon, child = map(int, herd.log(name).split())
    reap(daemon)
    assert is_alive(daemon)
    assert not is_alive(child)


def test_orphans_are_no_zombies(herd: Herd) -> None:
    name = herd.bash("(setsid sleep 0.2 & echo $!)")
    herd.end(name)
    pid = int(herd.log(name))
    until(lambda: not Path(f"/proc/{pid}").exists(), what="the orphan to be reaped")


def test_failed_task_leaves_only_a_partial_output(herd: Herd, tmp_path: Path) -> None:
    """Reliability 85, the half that must work without a worker."""
    file = tmp_path / "f"
    ended = herd.run(f"echo half > {file}; kill -9 $$", outputs=(str(file),), try_number=2)
    assert not file.exists()
    assert ended.partial == (f"{file}.partial-2",)
    assert Path(f"{file}.partial-2").read_text() == "half\n"


def test_successful_task_keeps_its_outputs(herd: Herd, tmp_path: Path) -> None:
    herd.run(f"echo whole > {tmp_path}/f", outputs=(f"{tmp_path}/f",))
    assert (tmp_path / "f").read_text() == "whole\n"


def test_tasks_and_ends_outlive_the_worker(herd: Herd) -> None:
    short, long = herd.bash("sleep 0.2; echo done"), herd.bash("echo up; sleep 1000", memo="long")
    herd.said(long, "up")
    pid = herd.client.pid
    herd.client.close()
    herd.said(short, "done")
    time.sleep(LINGER)

    client, running, ended = herd.again()
    assert client.pid == pid
    assert [(entry.id, entry.memo) for entry in running] == [(long, "long")]
    assert [(entry.id, entry.status, entry.accepted) for entry in ended] == [(short, 0, False)]


def test_ends_are_kept_until_they_are_forgotten(herd: Herd) -> None:
    one, two = herd.bash("true"), herd.bash("true")
    herd.end(one)
    herd.end(two)
    herd.client.accepted([one, two])
    herd.client.forget([two])
    herd.client.flush(at_once=True)
    herd.client.close()
    _, _, ended = herd.again()
    assert [(entry.id, entry.accepted) for entry in ended] == [(one, True)]


def test_journal_outlives_the_shepherd(herd: Herd) -> None:
    name = herd.bash("exit 4", memo="kept")
    herd.end(name)
    pid = herd.client.pid
    os.kill(pid, signal.SIGKILL)
    herd.client.close()
    client, running, ended = herd.again()
    assert client.pid != pid
    assert running == []
    assert [(entry.id, entry.memo, os.waitstatus_to_exitcode(entry.status or 0)) for entry in ended] == [(name, "kept", 4)]


def test_next_shepherd_watches_what_the_killed_one_started(herd: Herd) -> None:
    name = herd.bash("echo up; while [ ! -e go ]; do sleep 0.05; done")
    herd.said(name, "up")
    os.kill(herd.client.pid, signal.SIGKILL)
    _, running, _ = herd.again()
    assert [entry.id for entry in running] == [name]
    (herd.folder / "go").touch()
    ended = herd.end(name)
    assert (ended.status, ended.lost) == (None, True)


def test_task_that_ended_between_two_shepherds_is_lost(herd: Herd) -> None:
    name = herd.bash("echo $$; while [ ! -e go ]; do sleep 0.05; done")
    pid = int(herd.said(name, "\n"))
    os.kill(herd.client.pid, signal.SIGKILL)
    (herd.folder / "go").touch()
    until(lambda: not is_alive(pid), what="the task to end")
    herd.again()
    herd.client.flush()
    until(lambda: herd.again()[2], what="the loss to be told")
    assert [(entry.id, entry.lost) for entry in herd.again()[2]] == [(name, True)]


@pytest.fixture
def was_starting(herd: Herd, reap: Callable[[int], None]) -> Callable[[str, str], int]:
    """Run a command as a shepherd did that was killed before it could write down the pid; return the pid."""

    def leave(name: str, command: str) -> int:
        os.kill(herd.client.pid, signal.SIGKILL)
        earliest = int(time.clock_gettime(time.CLOCK_BOOTTIME) * processes.TICKS)
        entry = {"format": 1, "what": "start", "id": name, "pid": 0, "earliest": earliest, "boot": process.boot_id(), "started": 1.0, "memo": "m"}
        with (herd.folder / "shepherd.journal").open("a") as journal:
            journal.write(json.dumps(entry) + "\n")
        mark = {**os.environ, processes.MARKER: name}
        first = subprocess.Popen(["bash", "-c", command], start_new_session=True, env=mark, cwd=herd.folder, stdout=subprocess.PIPE)
        assert first.stdout
        assert first.stdout.readline() == b"up\n"
        first.stdout.close()
        reap(first.pid)
        threading.Thread(target=first.wait, daemon=True).start()
        return first.pid

    return leave


def test_process_whose_shepherd_died_before_it_knew_the_pid_is_found(herd: Herd, was_starting: Callable[[str, str], int]) -> None:
    name = f"starting-{herd.unique}"
    pid = was_starting(name, "echo up; while [ ! -e go ]; do sleep 0.05; done")
    _, running, _ = herd.again()
    assert [(entry.id, entry.pid, entry.memo) for entry in running] == [(name, pid, "m")]
    (herd.folder / "go").touch()
    ended = herd.end(name)
    assert (ended.pid, ended.status, ended.lost) == (pid, None, True)


def test_what_a_process_left_is_ended_when_its_shepherd_never_knew_the_pid(
    herd: Herd, was_starting: Callable[[str, str], int], reap: Callable[[int], None],
) -> None:
    name = f"starting-{herd.unique}"
    pid = was_starting(name, "sleep 1000 & echo $! > left; echo up")
    left = int((herd.folder / "left").read_text())
    reap(left)
    until(lambda: not is_alive(pid), what="the process itself to end")
    herd.again()
    until(lambda: not is_alive(left), what="what it left to be ended")
    assert [(entry.id, entry.lost) for entry in until(lambda: herd.again()[2], what="the loss to be told")] == [(name, True)]


def test_process_that_was_being_started_and_is_not_there_is_lost(herd: Herd, was_starting: Callable[[str, str], int]) -> None:
    """It may have run to its end: to start it again might be a second time."""
    name = f"starting-{herd.unique}"
    pid = was_starting(name, "echo up")
    until(lambda: not is_alive(pid), what="the process to end")
    _, running, ended = herd.again()
    assert (running, [(entry.id, entry.lost, entry.memo) for entry in ended]) == ([], [(name, True, "m")])


def test_journal_of_another_boot_kills_nobody(herd: Herd, reap: Callable[[int], None]) -> None:
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as innocent:
        reap(innocent.pid)
        entry = {"format": 1, "what": "start", "id": "old", "pid": innocent.pid, "earliest": 0, "latest": 1 << 60, "boot": "another", "started": 1.0}
        os.kill(herd.client.pid, signal.SIGKILL)
        with (herd.folder / "shepherd.journal").open("a") as journal:
            journal.write(json.dumps(entry) + "\n")
        until(lambda: [e.id for e in herd.again()[2]] == ["old"], what="the loss to be told")
        assert innocent.poll() is None
        innocent.kill()


def test_same_execution_is_not_started_twice(herd: Herd) -> None:
    name = herd.bash("echo once; sleep 0.2")
    herd.bash("echo twice", id=name)
    herd.end(name)
    herd.bash("echo twice", id=name)
    herd.run("true")
    assert herd.log(name) == b"once\n"


def test_shepherd_ends_after_its_last_task_and_client(herd: Herd) -> None:
    pid, name = herd.client.pid, herd.bash("echo up; sleep 2")
    herd.said(name, "up")
    herd.client.close()
    time.sleep(LINGER + 0.5)
    assert is_alive(pid)
    until(lambda: not is_alive(pid), what="the shepherd to end")
    assert not (herd.folder / "shepherd.sock").exists()


def test_terminated_shepherd_waits_for_its_tasks(herd: Herd) -> None:
    name, pid = herd.bash("echo up; sleep 0.5"), herd.client.pid
    herd.said(name, "up")
    os.kill(pid, signal.SIGTERM)
    assert herd.end(name).status == 0
    until(lambda: not is_alive(pid), what="the shepherd to end")
    with pytest.raises(ShepherdGone):
        until(lambda: herd.client.receive() or None)


def test_signals_of_a_terminal_do_not_reach_it(herd: Herd) -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(herd.client.pid, number)
    assert herd.run("true").status == 0


def test_long_path_of_the_work_dir(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    client = ShepherdClient(folder, env={"PATH": PATH}, linger=0.0)
    client.connect()
    herd = Herd(folder, client)
    assert herd.run("true").status == 0
    client.close()
    until(lambda: not is_alive(client.pid), what="the shepherd to end")


def test_shepherd_survives_nonsense(herd: Herd) -> None:
    client = ShepherdClient(herd.folder, env={}, linger=LINGER, role="")
    client.connect()
    client._ask(b"no json\n")
    client.flush()
    with pytest.raises(ShepherdGone):
        until(lambda: client.receive() or None)
    client.close()
    assert herd.run("true").status == 0


def test_worker_that_is_killed_leaves_shepherd_and_task(tmp_path: Path) -> None:
    """A worker in the same terminal session is killed; the task goes on under the shepherd."""
    log = tmp_path / "t.log"
    script = (
        "import sys, time; from pathlib import Path; from rqflow.worker.shepherd_client import ShepherdClient\n"
        "from rqflow.worker.shepherd_protocol import Start\n"
        f"c = ShepherdClient(Path({str(tmp_path)!r}), env={{'PATH': {PATH!r}}}, linger=1); c.connect()\n"
        f"c.environment({{'PATH': {PATH!r}}}, 18)\n"
        f"c.start(Start(id='t', argv=('bash', '-c', 'echo up; sleep 1; read -r _ _ _ parent _ < /proc/$$/stat; echo $parent over'), log={str(log)!r}, cwd='/')); c.flush()\n"
        "print(c.pid, flush=True); time.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True) as worker:
        try:
            assert worker.stdout
            pid = int(worker.stdout.readline())
            until(lambda: log.exists() and "up" in log.read_text(), what="the task to start")
        finally:
            os.killpg(worker.pid, signal.SIGKILL)
    until(lambda: "over" in log.read_text(), what="the task to end")
    assert log.read_text().split() == ["up", str(pid), "over"], "its parent was there still"
    until(lambda: not is_alive(pid), what="the shepherd to end")


def test_holds_a_shared_lock_as_long_as_it_lives(herd: Herd) -> None:
    path = herd.folder / "users"
    herd.client.hold(path)
    herd.run("true")
    with path.open("ab") as stream:
        with pytest.raises(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(stream, fcntl.LOCK_UN)
        os.kill(herd.client.pid, signal.SIGTERM)
        until(lambda: not is_alive(herd.client.pid), what="the shepherd to end")
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
