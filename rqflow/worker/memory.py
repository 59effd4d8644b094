"""Whether the kernel killed something because memory ran out, as far as it tells.

The shepherd asks before it starts tasks and when one was killed by SIGKILL that the shepherd did not send.
"""

from __future__ import annotations

import os
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


class OomCounter:
    """Counts the kernel's out-of-memory kills in this process's cgroup, or on the whole machine where it has none."""

    def __init__(self) -> None:
        self._descriptor = -1
        for path in _candidates():
            try:
                self._descriptor = os.open(path, os.O_RDONLY)
            except OSError:
                continue
            if self.read() is not None:
                return
            os.close(self._descriptor)
            self._descriptor = -1

    def read(self) -> int | None:
        """Return the number of kills so far, or None when the kernel does not tell."""
        if self._descriptor < 0:
            return None
        try:
            words = os.pread(self._descriptor, 1 << 16, 0).split()
        except OSError:
            return None
        return int(words[words.index(b"oom_kill") + 1]) if b"oom_kill" in words else None

    def close(self) -> None:
        """Give the file back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _candidates() -> list[Path]:
    """Return the files that may hold the counter: cgroup 2, cgroup 1, the machine."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    groups = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    second = [_ROOT / path.lstrip("/") / "memory.events" for number, _, path in groups if number == "0"]
    first = [_ROOT / "memory" / path.lstrip("/") / "memory.oom_control" for _, kinds, path in groups if "memory" in kinds.split(",")]
    return [*second, *first, Path("/proc/vmstat")]
