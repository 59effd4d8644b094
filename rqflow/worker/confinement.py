"""What a task may use of its machine: memory, processors, niceness, open files, and under which account; entered by the new process.

Memory is kept by a cgroup where one can be made, else by a limit of address space. Whole processors are those that a task is bound to, so
that programs that ask how many there are find as many as they have; a part of one is kept by a cgroup. What cannot be kept as it was asked
for is said in the log of the task.

Only the standard library is imported here: the shepherd uses this module.
"""

from __future__ import annotations

import math
import os
import resource
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rqflow.worker import cgroups, processes
from rqflow.worker.cgroups import CPU, MEMORY, Groups


class Limited(Protocol):
    """A process that is to be started, with what it may use; None is no limit."""

    id: str
    memory: int | None
    cpus: float | None
    nice: int | None
    nofile: int | None
    account: Mapping[str, Any] | None
    parcel: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Confinement:
    """What was decided for one process."""

    #: {controller: path} of its cgroups.
    groups: Mapping[str, str]
    #: Bytes of address space of each single process; None: no limit.
    address_space: int | None = None
    nice: int | None = None
    nofile: int | None = None
    #: Those that it is bound to; empty: to none.
    processors: tuple[int, ...] = ()
    #: Whose ids it takes last, or that sudo will give it others (Start.account).
    account: Mapping[str, Any] | None = None
    #: What of it is not as it was asked for, for the log.
    notes: tuple[str, ...] = ()

    def enter(self) -> None:
        """Confine this process, and all that it will start; raises OSError."""
        cgroups.join(self.groups.values())
        if self.nice is not None:
            os.setpriority(os.PRIO_PROCESS, 0, self.nice)
        if self.processors:
            os.sched_setaffinity(0, self.processors)
        for kind, limit in ((resource.RLIMIT_NOFILE, self.nofile), (resource.RLIMIT_AS, self.address_space)):
            if limit is not None:
                resource.setrlimit(kind, (limit, limit))
        if self.account is None:
            return
        if "errand" in self.account:
            # Then what leaves its parents behind stays below sudo, where it is seen: the mark in its environment is not.
            processes.adopt_orphans()
        else:
            os.setgroups(self.account["groups"])
            os.setgid(self.account["gid"])
            os.setuid(self.account["uid"])

    @property
    def plain(self) -> dict[str, Any]:
        """What the journal keeps of it."""
        return {"groups": dict(self.groups), "processors": list(self.processors), "notes": list(self.notes),
                "account": self.account}


def is_confined(request: Limited) -> bool:
    """Tell whether a process has any limit, or another account."""
    return not (request.memory is None and request.cpus is None and request.nice is None and request.nofile is None and not request.parcel)


class Confiner:
    """Decides for the processes of one shepherd."""

    def __init__(self, name: str) -> None:
        """Call its cgroups `name`."""
        self._groups = Groups(name)
        self._bound: Counter[int] = Counter()
        #: Groups that could not be removed, because what a task left on purpose is in them.
        self._left: list[str] = []

    def adopt(self, running: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Take over the tasks that a shepherd before this one started, with what the journal has of each; remove what others left."""
        for kept in running.values():
            self._bound.update((kept or {}).get("processors") or ())
        self._groups.sweep(running)

    def decide(self, request: Limited) -> Confinement:
        """Return what keeps the limits of a process, with its cgroups made."""
        notes: list[str] = []
        part = request.cpus is not None and request.cpus % 1 > 0
        groups = self._groups.make(request.id, request.memory, request.cpus if part else None)
        if request.memory is not None and MEMORY not in groups:
            notes.append(f"no cgroup can be made here, so its limit of memory, {said_size(request.memory)}, counts the address space of each process "
                         "by itself")
        if part and CPU not in groups:
            notes.append(f"no cgroup can be made here, so it has {math.ceil(request.cpus or 1)} whole processors, not {request.cpus:g}")
        return Confinement(
            groups=groups, address_space=request.memory if MEMORY not in groups else None, nice=_nice(request.nice, notes),
            nofile=_nofile(request.nofile, notes), processors=self._bind(request.cpus), account=request.account,
            notes=tuple(notes),
        )

    def over(self, kept: Mapping[str, Any]) -> None:
        """Remove the cgroups of a task that has ended."""
        self._bound.subtract(kept["processors"])
        self._left = cgroups.remove([*self._left, *kept["groups"].values()])

    def close(self, last: Confinement | None = None) -> None:
        """Remove what there still is, after `last` has ended; what a task left running stays where it is until the next shepherd looks."""
        if last is not None:
            self.over(last.plain)
        self._groups.sweep(())

    def _bind(self, cpus: float | None) -> tuple[int, ...]:
        """Return as many processors as a task may use, those with the fewest other ones bound to them."""
        allowed = os.sched_getaffinity(0)
        if cpus is None or cpus > len(allowed) - 1:
            return ()
        chosen = tuple(sorted(sorted(allowed, key=lambda one: (self._bound[one], one))[:math.ceil(cpus)]))
        self._bound.update(chosen)
        return chosen


def were_killed(kept: Mapping[str, Any] | None) -> bool:
    """Tell whether the kernel killed something of a task because it had reached its limit of memory."""
    return kept is not None and cgroups.kills(kept["groups"].values()) > 0


def said_size(count: int) -> str:
    """Return bytes as people read them."""
    for unit, factor in (("GB", 1 << 30), ("MB", 1 << 20)):
        if count >= factor:
            return f"{count / factor:.{0 if unit == 'MB' else 1}f} {unit}"
    return f"{count >> 10} KB"


def _nice(wanted: int | None, notes: list[str]) -> int | None:
    now = os.getpriority(os.PRIO_PROCESS, 0)
    if wanted is None or wanted >= now or os.geteuid() == 0:
        return wanted
    notes.append(f"its niceness is {now}, not {wanted}: only root may make a process less nice than its worker")
    return None


def _nofile(wanted: int | None, notes: list[str]) -> int | None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if os.geteuid() == 0:
        most = int(Path("/proc/sys/fs/nr_open").read_text(encoding="ascii"))
    if wanted is None or wanted <= most or most == resource.RLIM_INFINITY:
        return wanted
    notes.append(f"it may open {most} files, not {wanted}: its worker may not have more")
    return most
