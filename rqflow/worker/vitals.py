"""How a worker fares, as its record tells it: its clock against Redis', the age of its link, the room on its disk."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import redis

from rqflow import clock
from rqflow.clock import to_micros

_COMPARE_EVERY = 60.0
_MEMORY = Path("/proc/meminfo")


class Vitals:
    """What one worker knows of itself."""

    def __init__(self, folder: Path) -> None:
        """Look at the disk of `folder`."""
        self._folder = folder
        #: Microseconds by which our clock is ahead of Redis'.
        self._offset = 0
        self._compare_at = 0.0

    def compare(self, connection: redis.Redis) -> None:
        """Compare the clocks, if that is due; half of the way there and back is given to each. Raises redis-py's errors."""
        if clock.monotonic() < self._compare_at:
            return
        before = to_micros(clock.utcnow())
        reply: Any = connection.time()
        after = to_micros(clock.utcnow())
        self._offset = (before + after) // 2 - (int(reply[0]) * 1_000_000 + int(reply[1]))
        self._compare_at = clock.monotonic() + _COMPARE_EVERY

    def now(self) -> int:
        """Return the time by Redis' clock, about, in microseconds."""
        return to_micros(clock.utcnow()) - self._offset

    def fields(self, leaving: str, linked_since: datetime, awaited: Mapping[str, str]) -> dict[Any, Any]:
        """Return the fields of RQ's record; `leaving` says how it ends, if it does, `awaited` what tries wait for from the hub."""
        disk = os.statvfs(self._folder)
        return {"clock_offset": f"{self._offset / 1_000_000:.3f}", "linked_since": str(to_micros(linked_since)), "leaving": leaving,
                "awaits": json.dumps(awaited) if awaited else "", "disk_free": str(disk.f_bavail * disk.f_frsize),
                "load": f"{os.getloadavg()[0]:.2f}", "cpus": str(os.cpu_count() or ""), **_memory(_MEMORY)}


def _memory(file: Path) -> dict[str, str]:
    """Return the bytes of memory of this machine and those that processes could have, as a /proc/meminfo says; nothing where there is none."""
    try:
        lines = [line.split() for line in file.read_text(encoding="ascii").splitlines()]
    except OSError:
        return {}
    known = {line[0].rstrip(":"): int(line[1]) << 10 for line in lines if len(line) == 3 and line[2] == "kB"}
    return {name: str(known[said]) for name, said in (("memory", "MemTotal"), ("memory_free", "MemAvailable")) if said in known}
