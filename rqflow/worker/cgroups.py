"""Control groups of the kernel, one a task that has a limit which only they can keep: memory, and parts of a processor.

They are made below the group that this process is in, by version 1 or 2 of the interface, where this account may. Version 2 has no limits
in a group that has both processes and groups below it: so there they are made beside this process' own group, in one that systemd has
delegated (Delegate=yes and DelegateSubgroup= of the unit).

Only the standard library is imported here: the shepherd uses this module.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path

MEMORY, CPU = "memory", "cpu"
#: Microseconds in which a task may use its share of the processors.
_PERIOD = 100_000
#: By which systemd marks a group that is left to what runs in it.
_DELEGATED = ("user.delegate", "trusted.delegate")


@dataclass(frozen=True, slots=True)
class Base:
    """A group below which others may be made, and the version of its interface."""

    path: Path
    version: int


class Groups:
    """The groups of the tasks of one shepherd."""

    def __init__(self, name: str, bases: dict[str, Base] | None = None) -> None:
        """Make them in groups called `name`, below `bases` {controller: base}, by default those that are found here."""
        self._name = name
        self._bases = find() if bases is None else bases

    def make(self, task: str, memory: int | None, cpus: float | None) -> dict[str, str]:
        """Make the groups of a task with these limits; return {controller: path}. Without those that cannot be made here."""
        made = {}
        for controller, limit in ((MEMORY, memory), (CPU, cpus)):
            base = self._bases.get(controller)
            if limit is None or base is None:
                continue
            path = base.path / self._name / task
            try:
                _make(path, base, controller)
                _limit(path, base.version, controller, limit)
            except OSError:
                remove([str(path)])
                continue
            made[controller] = str(path)
        return made

    def sweep(self, kept: Container[str]) -> None:
        """Remove the groups of tasks that are not `kept`: a shepherd before this one may have left them."""
        for path in {base.path / self._name for base in self._bases.values()}:
            with contextlib.suppress(OSError):
                for entry in list(os.scandir(path)):
                    if entry.is_dir() and entry.name not in kept:
                        remove([entry.path])
                path.rmdir()


def join(paths: Iterable[str]) -> None:
    """Put this process into groups; raises OSError."""
    for path in paths:
        _write(Path(path), "cgroup.procs", 0)


def kills(paths: Iterable[str]) -> int:
    """Return how many processes of these groups the kernel has killed because they had reached their limit of memory."""
    count = 0
    for path in paths:
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError, ValueError):
                words = (Path(path) / name).read_text(encoding="ascii").split()
                count += int(words[words.index("oom_kill") + 1])
                break
    return count


def remove(paths: Iterable[str]) -> list[str]:
    """Remove groups; return those that some process is still in."""
    left = []
    for path in paths:
        try:
            os.rmdir(path)  # noqa: PTH106 - like its neighbours, without a Path
        except FileNotFoundError:
            continue
        except OSError:
            left.append(path)
    return left


def find(mounts: str | None = None, own: str | None = None) -> dict[str, Base]:
    """Return below which group a group with each controller may be made, by the texts of /proc/self/mountinfo and /proc/self/cgroup."""
    found: dict[str, Base] = {}
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape") if mounts is None else mounts
        own = Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="surrogateescape") if own is None else own
    except OSError:
        return found
    paths = {kinds: path for _, kinds, path in (line.split(":", 2) for line in own.splitlines() if line.count(":") >= 2)}
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        columns, kind = left.split(" "), right.split(" ")
        if kind[0] not in {"cgroup", "cgroup2"} or len(columns) < 5:
            continue
        root, point = columns[3], Path(columns[4])
        if kind[0] == "cgroup2":
            group = _below(point, root, paths.get("", "/"))
            for controller in (MEMORY, CPU):
                base = next((one for one in (group, group.parent) if one.is_relative_to(point) and _may_control(one, controller)), None)
                if base is not None:
                    found.setdefault(controller, Base(base, 2))
            continue
        for kinds, path in paths.items():
            for controller in {MEMORY, CPU}.intersection(kinds.split(","), kind[2].split(",")):
                group = _below(point, root, path)
                if os.access(group, os.W_OK):
                    found[controller] = Base(group, 1)
    return found


def _below(point: Path, root: str, path: str) -> Path:
    """Return where a group is: `root` of the hierarchy is mounted at `point`."""
    inside = path.removeprefix(root) if root != "/" and path.startswith(root) else path
    return point / inside.lstrip("/")


def _may_control(group: Path, controller: str) -> bool:
    """Tell whether groups below this one have the controller, or get it because the group is ours to divide."""
    if not os.access(group, os.W_OK):
        return False
    try:
        if controller in (group / "cgroup.subtree_control").read_text(encoding="ascii").split():
            return True
        if controller not in (group / "cgroup.controllers").read_text(encoding="ascii").split() or not _is_delegated(group):
            return False
        _write(group, "cgroup.subtree_control", f"+{controller}")
    except OSError:
        return False
    return True


def _is_delegated(group: Path) -> bool:
    for name in _DELEGATED:
        with contextlib.suppress(OSError):
            if os.getxattr(group, name) == b"1":
                return True
    return False


def _make(path: Path, base: Base, controller: str) -> None:
    path.parent.mkdir(exist_ok=True)
    if base.version == 2:
        _write(path.parent, "cgroup.subtree_control", f"+{controller}")
    path.mkdir(exist_ok=True)


def _limit(path: Path, version: int, controller: str, limit: float) -> None:
    if controller == MEMORY and version == 1:
        _write(path, "memory.limit_in_bytes", int(limit))
        with contextlib.suppress(OSError):  # where swap is not counted
            _write(path, "memory.memsw.limit_in_bytes", int(limit))
    elif controller == MEMORY:
        _write(path, "memory.max", int(limit))
        with contextlib.suppress(OSError):
            _write(path, "memory.swap.max", 0)
    elif version == 1:
        _write(path, "cpu.cfs_period_us", _PERIOD)
        _write(path, "cpu.cfs_quota_us", max(int(limit * _PERIOD), 1000))
    else:
        _write(path, "cpu.max", f"{max(int(limit * _PERIOD), 1000)} {_PERIOD}")


def _write(group: Path, name: str, value: object) -> None:
    descriptor = os.open(group / name, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, str(value).encode())
    finally:
        os.close(descriptor)
