"""What the kernel says of processes: CPU time in nanoseconds where it tells that, memory, switches."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")
MIB = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """CPU seconds since a process started, of its children that it waited for, and how often it went to sleep."""

    own: float
    children: float
    sleeps: int

    def __sub__(self, before: Usage) -> Usage:
        return Usage(own=self.own - before.own, children=self.children - before.children, sleeps=self.sleeps - before.sleeps)


def usage(pid: int) -> Usage:
    """Return what the process has used so far, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    user, system, child_user, child_system = (int(text) * _TICK for text in fields[11:15])
    own, sleeps = 0.0, 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # threads end
            status = (task / "status").read_text(encoding="utf-8", errors="replace")
            own += int((task / "schedstat").read_text(encoding="ascii").split()[0]) / 1e9
            sleeps += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    # schedstat counts in nanoseconds, but only threads that live; stat counts all of them, in ticks.
    return Usage(own=own if own > user + system - 0.05 else user + system, children=child_user + child_system, sleeps=sleeps)


def usages(pids: Mapping[str, int]) -> dict[str, Usage]:
    """Return the usage of each of these processes, by the same names."""
    return {name: usage(pid) for name, pid in pids.items()}


def pss(pid: int) -> float:
    """Return the memory of the process in MiB: its own, and its share of what it has together with others."""
    return _rolled_up(pid, "Pss")


def rss(pid: int) -> float:
    """Return the memory of the process in MiB: its own, and all of what it has together with others."""
    return _rolled_up(pid, "Rss")


def _rolled_up(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"the kernel does not tell the {name} of process {pid}")


def total(found: Mapping[str, Usage]) -> float:
    """Return the CPU seconds of all these processes together, without their children."""
    return sum(one.own for one in found.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """CPU seconds of all processors since boot, by what they did: `stolen` is what other machines on the same host took."""

    busy: float
    idle: float
    stolen: float

    def __sub__(self, before: Machine) -> Machine:
        return Machine(busy=self.busy - before.busy, idle=self.idle - before.idle, stolen=self.stolen - before.stolen)


def machine() -> Machine:
    """Return what the processors have done so far."""
    line = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    user, nice, system, idle, iowait, irq, softirq, steal = (int(text) * _TICK for text in line.split()[1:9])
    return Machine(busy=user + nice + system + irq + softirq, idle=idle + iowait, stolen=steal)
