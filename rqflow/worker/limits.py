"""What the task of a try may use of its machine, and whether it was that of which it failed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rqflow.dag.version import TaskSpec
from rqflow.settings import WorkerSettings
from rqflow.worker.confinement import said_size

#: What programs say when the kernel refused them memory, or one more file.
_NO_MEMORY = re.compile(r"cannot allocate memory|out of memory|MemoryError|bad_alloc|ENOMEM", re.IGNORECASE)
_NO_FILE = re.compile(r"too many open files|EMFILE", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskLimits:
    """Bytes of memory, processors, niceness, open files; None: no limit."""

    memory: int | None = None
    cpus: float | None = None
    nice: int | None = None
    nofile: int | None = None

    @property
    def plain(self) -> dict[str, Any]:
        """Those that there are, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def told(self, lines: str) -> str:
        """Return which limit a task speaks of that has failed, in the last `lines` of its log; empty when it speaks of none."""
        if self.nofile is not None and _NO_FILE.search(lines):
            return f"too many open files: it may have {self.nofile}"
        if self.memory is not None and _NO_MEMORY.search(lines):
            return f"out of memory: its limit is {said_size(self.memory)}"
        return ""


NONE = TaskLimits()


def of(task: TaskSpec, settings: WorkerSettings) -> TaskLimits:
    """Return the limits of a task: its own, else those of its queue, else those of its worker."""
    memory = settings.memory.of(task.queue) if task.memory is None else task.memory
    cpus = settings.cpus.of(task.queue) if task.cpus is None else task.cpus
    nice = settings.nice.of(task.queue) if task.nice is None else task.nice
    nofile = settings.nofile.of(task.queue) if task.nofile is None else task.nofile
    if memory is None and cpus is None and nice is None and nofile is None:
        return NONE
    return TaskLimits(memory=_whole(memory), cpus=cpus, nice=_whole(nice), nofile=_whole(nofile))


def from_plain(plain: Mapping[str, Any]) -> TaskLimits:
    """Return the limits that `plain` was made of."""
    return TaskLimits(**plain)


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
