from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from rqflow.settings import WorkerSettings
from rqflow.values import Numbers, Sizes
from rqflow.worker import cgroups, limits
from rqflow.worker.cgroups import CPU, MEMORY, Base, Groups
from rqflow.worker.limits import TaskLimits
from tests.unit.builders import a_task


def test_a_task_says_its_limits_first_then_its_queue_then_the_worker() -> None:
    settings = replace(WorkerSettings(), memory=Sizes(100, {"gpu": 200, "free": None}), nice=Numbers(5))
    found = [limits.of(a_task(queue=queue, memory=memory), settings).memory for queue, memory in
             [("default", None), ("gpu", None), ("free", None), ("gpu", 300)]]
    assert found == [100, 200, None, 300]
    assert limits.of(a_task(), settings).nice == 5
    assert limits.of(a_task(), WorkerSettings()) is limits.NONE


@pytest.mark.parametrize(
    ("given", "lines", "told"),
    [
        (TaskLimits(nofile=64), "OSError: [Errno 24] Too many open files: 'x'", "too many open files: it may have 64"),
        (TaskLimits(memory=200 << 20), "Traceback\nMemoryError", "out of memory: its limit is 200 MB"),
        (TaskLimits(memory=200 << 20), "bash: fork: Cannot allocate memory", "out of memory: its limit is 200 MB"),
        (TaskLimits(memory=200 << 20), "Too many open files", ""),
        (TaskLimits(nice=3), "MemoryError", ""),
    ],
)
def test_a_limit_of_which_a_task_speaks_is_named(given: TaskLimits, lines: str, told: str) -> None:
    assert given.told(lines) == told


def mounted(point: Path, kind: str, options: str, root: str = "/") -> str:
    return f"30 20 0:26 {root} {point} rw,relatime - {kind} cgroup {options}\n"


def a_second(path: Path, *, controllers: str = "cpu memory", enabled: str = "") -> Path:
    """A folder that looks like a group of version 2."""
    path.mkdir(parents=True)
    (path / "cgroup.controllers").write_text(controllers)
    (path / "cgroup.subtree_control").write_text(enabled)
    return path


def test_groups_of_version_1_are_made_below_that_of_this_process(tmp_path: Path) -> None:
    (tmp_path / "memory" / "box").mkdir(parents=True)
    (tmp_path / "cpu" / "own").mkdir(parents=True)
    mounts = mounted(tmp_path / "memory", "cgroup", "rw,memory", "/docker/1") + mounted(tmp_path / "cpu", "cgroup", "rw,cpu,cpuacct")
    found = cgroups.find(mounts, "4:memory:/docker/1/box\n2:cpu,cpuacct:/own\n9:name=systemd:/\n0::/\n")
    assert found == {MEMORY: Base(tmp_path / "memory" / "box", 1), CPU: Base(tmp_path / "cpu" / "own", 1)}


def test_groups_of_version_2_are_made_beside_that_of_this_process_where_its_parent_hands_controllers_down(tmp_path: Path) -> None:
    unit = a_second(tmp_path / "unit", enabled="memory")
    a_second(unit / "main")
    assert cgroups.find(mounted(tmp_path, "cgroup2", "rw"), "0::/unit/main\n") == {MEMORY: Base(unit, 2)}


def test_a_group_of_version_2_that_is_delegated_is_told_to_hand_controllers_down(tmp_path: Path) -> None:
    unit = a_second(tmp_path / "unit")
    a_second(unit / "main")
    try:
        os.setxattr(unit, "user.delegate", b"1")
    except OSError as error:
        pytest.skip(f"no attributes of files here: {error}")
    assert set(cgroups.find(mounted(tmp_path, "cgroup2", "rw"), "0::/unit/main\n")) == {MEMORY, CPU}
    assert (unit / "cgroup.subtree_control").read_text().startswith("+")


def test_a_group_of_version_2_that_is_nobodys_to_divide_is_left_alone(tmp_path: Path) -> None:
    a_second(a_second(tmp_path / "session") / "main")
    assert cgroups.find(mounted(tmp_path, "cgroup2", "rw"), "0::/session/main\n") == {}


def test_what_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    """A folder without the files of a group."""
    groups = Groups("rqflow-x", {MEMORY: Base(tmp_path, 1)})
    assert groups.make("e", 1 << 20, None) == {}
    assert not (tmp_path / "rqflow-x" / "e").exists()
    groups.sweep(())
    assert list(tmp_path.iterdir()) == []
