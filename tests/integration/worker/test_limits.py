"""Limits of tasks, kept by the shepherd with real processes, and what the log of a task says when it has reached one."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rqflow.worker import cgroups, spawning
from rqflow.worker.cgroups import CPU, MEMORY
from rqflow.worker.confinement import Confinement
from rqflow.worker.shepherd_client import ShepherdClient
from rqflow.worker.shepherd_protocol import Start
from tests.integration.worker.conftest import LINGER, PATH, Herd, Site
from tests.unit.builders import a_task, a_version
from tests.waiting import is_alive, until

HUNGRY = f"exec {sys.executable} -c 'print(len(bytearray(300 << 20)))'"
MANY_FILES = f"exec {sys.executable} -c 'kept = [open(\"/dev/null\") for _ in range(200)]'"


def groups() -> list[Path]:
    """The cgroups of shepherds that there are."""
    return [path for base in set(cgroups.find().values()) for path in base.path.glob("rqflow-*/*") if path.is_dir()]


def needs(*controllers: str) -> None:
    """Skip where no cgroup with these can be made."""
    if missing := set(controllers) - set(cgroups.find()):
        pytest.skip(f"no cgroup can be made here for {', '.join(sorted(missing))}")


@pytest.fixture
def bare_herd(herd: Herd) -> Herd:
    """A shepherd that finds no cgroups below which it may make others, as on a machine where it is not root."""
    os.kill(herd.client.pid, signal.SIGTERM)
    herd.client.close()
    until(lambda: not is_alive(herd.client.pid), what="the first shepherd to end")
    path = herd.folder / "path"
    path.mkdir()
    (path / "sitecustomize.py").write_text("from rqflow.worker import cgroups\ncgroups.find = lambda *_: {}\n")
    herd.client = ShepherdClient(herd.folder, env={"PATH": PATH, "PYTHONPATH": str(path)}, linger=LINGER)
    herd.client.connect()
    herd.client.environment({"PATH": PATH}, 0o022)
    return herd


def test_a_task_that_takes_more_memory_than_it_may_is_killed_and_its_group_is_removed(herd: Herd) -> None:
    needs(MEMORY)
    name = herd.bash(f"grep memory /proc/self/cgroup; {HUNGRY}", memory=64 << 20)
    ended = herd.end(name)
    assert ended.status is not None
    assert (os.WTERMSIG(ended.status), ended.oom, ended.notes) == (signal.SIGKILL, True, ())
    assert name in herd.log(name).decode()
    assert not [path for path in groups() if path.name == name]


def test_a_task_within_its_limit_is_left_alone_and_a_child_that_is_killed_is_told(herd: Herd) -> None:
    needs(MEMORY)
    ended = herd.run(f"{HUNGRY}", memory=600 << 20)
    assert (ended.status, ended.oom) == (0, False)
    ended = herd.run(f"({HUNGRY}); true", memory=64 << 20)
    assert (ended.status, ended.oom) == (0, True)


def test_limits_are_there_before_the_command_is(herd: Herd) -> None:
    script = "nice; ulimit -n; nproc; umask; ps -o sid= -p $$; echo $BASE; cat"
    name = herd.bash(script, nice=7, nofile=77, cpus=1, umask="027")
    ended = herd.end(name)
    assert [*herd.log(name).decode().split()] == ["7", "77", "1", "0027", str(ended.pid), "1"]
    assert ended.notes == ()


def test_tasks_that_are_bound_to_processors_share_them_out(herd: Herd) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("there is one processor")
    first, second = (herd.bash("taskset -p $$; sleep 300", cpus=1) for _ in range(2))
    masks = [herd.said(name, "mask") for name in (first, second)]
    assert len({mask.rpartition(":")[2].strip() for mask in masks}) == 2


def test_part_of_a_processor_is_kept_by_a_group(herd: Herd) -> None:
    needs(CPU)
    name = herd.bash("echo ready; sleep 300", cpus=0.5)
    herd.said(name, "ready")
    group = next(path for path in groups() if path.name == name)
    assert "50000" in "".join((group / file).read_text() for file in ("cpu.max", "cpu.cfs_quota_us") if (group / file).exists())


def test_where_no_group_can_be_made_address_space_is_limited_and_that_is_said(bare_herd: Herd) -> None:
    ended = bare_herd.run(f"{HUNGRY}", memory=200 << 20, cpus=0.5)
    assert (os.waitstatus_to_exitcode(ended.status or 0), ended.oom) == (1, False)
    assert b"MemoryError" in bare_herd.log(ended.id)
    assert [note.partition(",")[0] for note in ended.notes] == ["no cgroup can be made here"] * 2


def test_what_cannot_be_started_with_limits_is_told_like_any_other(herd: Herd) -> None:
    ended = herd.end(herd.start("no-such-program", nice=3))
    assert (ended.pid, ended.lost, ended.error) == (0, False, "No such file or directory: no-such-program")
    ended = herd.end(herd.start("bash", "-c", "true", nice=3, cwd="/no/such/folder"))
    assert ended.error == "its folder /no/such/folder does not exist"
    ended = herd.end(herd.start("bash", "-c", "x" * (3 << 20), nice=3))
    assert "too large for the kernel" in ended.error


def test_group_of_a_task_whose_shepherd_died_is_removed_at_its_end_and_it_keeps_its_limit(herd: Herd) -> None:
    needs(MEMORY)
    fifo = herd.folder / "go"
    os.mkfifo(fifo)
    name = herd.bash(f"echo ready; read < {fifo}; {HUNGRY}", memory=64 << 20)
    herd.said(name, "ready")
    lost = herd.bash("echo on; exec sleep 300", memory=64 << 20)
    herd.said(lost, "on")
    os.kill(herd.client.pid, signal.SIGKILL)
    until(lambda: not is_alive(herd.client.pid), what="the shepherd to die")
    _, running, _ = herd.again()
    assert {entry.id for entry in running} == {name, lost}
    fifo.write_text("go\n")
    ended = herd.end(name)
    assert (ended.lost, ended.oom) == (True, True)
    herd.client.kill(lost, "cancelled", 0.0)
    herd.client.flush()
    herd.end(lost)
    assert not {name, lost} & {path.name for path in groups()}


def test_a_group_that_nobody_knows_any_more_is_removed_by_the_next_shepherd(herd: Herd, reap: Callable[[int], None]) -> None:
    needs(MEMORY)
    name = herd.bash("setsid sleep 300 & echo $!", memory=64 << 20)
    assert herd.end(name).status == 0
    daemon = int(herd.log(name))
    reap(daemon)
    group = next(path for path in groups() if path.name == name)
    os.kill(herd.client.pid, signal.SIGKILL)
    until(lambda: not is_alive(herd.client.pid), what="the shepherd to die")
    os.kill(daemon, signal.SIGKILL)
    until(lambda: not (group / "cgroup.procs").read_text(), what="the daemon to be gone")
    herd.again()
    assert not group.exists()


def test_a_limited_task_whose_shepherd_dies_before_its_start_is_written_down_never_runs(tmp_path: Path) -> None:
    request = Start(id="e", argv=("touch", "ran"), log=str(tmp_path / "log"), cwd=str(tmp_path))
    with open(os.devnull, "rb") as null:
        unborn = spawning.fork(request, Confinement(groups={}), {"PATH": PATH}, 0o022, null.fileno())
    os.close(unborn._leave)
    assert os.waitstatus_to_exitcode(os.waitpid(unborn.pid, 0)[1]) != 0
    assert unborn.error() == ""
    assert not (tmp_path / "ran").exists()


# -- with a worker --


def test_log_of_a_task_names_the_limit_that_it_has_reached(site: Site) -> None:
    needs(MEMORY)
    site.start(environ={"RQFLOW__WORKER__NOFILE": "none, default=64", "RQFLOW__WORKER__NICE": "3"})
    run = site.run(a_version(specs=[a_task("memory", HUNGRY, memory=64 << 20), a_task("files", MANY_FILES), a_task("polite", "exit $(nice)")]))
    ends = {task_id: site.until(run, "failed", task_id) for task_id in ("memory", "files", "polite")}
    assert ends["memory"].reason == "killed by signal 9 (KILL), out of memory: its limit is 64 MB"
    assert ends["files"].reason == "exit code 1, too many open files: it may have 64"
    assert ends["polite"].reason == "exit code 3"
