"""When the parts of an archived log came: an index beside the log, which the archive writes and readers of lines ask.

A line `OFFSET TIME` says that what stands from this byte on came into Redis at this time, in milliseconds since the epoch by Redis' clock. A log
that came in one piece, as most do, has no index: all of it came at its end.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from datetime import datetime
from pathlib import Path
from typing import IO

from rqflow.clock import from_micros

SUFFIX = ".times"
MODE = 0o640
#: Bytes of an index that are read through, not halved, where an offset is looked for; a line of it is never longer than the second.
_NEAR, _LONGEST = 4096, 128


def note(log: str, offset: int, at: int) -> None:
    """Write down that the part of a log from `offset` on came `at` this time (ms). Raises OSError; may be repeated."""
    descriptor = os.open(f"{log}{SUFFIX}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
    try:
        os.write(descriptor, b"%d %d\n" % (offset, at))
    finally:
        os.close(descriptor)


def remove(log: Path) -> None:
    """Remove the index of a log."""
    Path(f"{log}{SUFFIX}").unlink(missing_ok=True)


def between(log: Path, start: int, end: int) -> list[tuple[int, int]]:
    """Return (offset, ms since the epoch) of the parts of a log that reach into [start, end); nothing when there is no index.

    Reads only these lines of the index, which is sorted: that of a log that grew for weeks is long.
    """
    found: list[tuple[int, int]] = []
    latest = 0
    try:
        with Path(f"{log}{SUFFIX}").open("rb") as file:
            file.seek(_line_before(file, start))
            for line in file:
                entry = _entry(line)
                if entry is None:
                    continue
                if entry[0] >= end:
                    break
                latest = max(latest, entry[1])
                if entry[0] <= start:
                    found.clear()
                found.append((entry[0], latest))
    except FileNotFoundError:
        return []
    return found


def _line_before(file: IO[bytes], offset: int) -> int:
    """Return where in an index some line begins that is about `offset` or bytes before it, near the last such line."""
    low, high = 0, file.seek(0, os.SEEK_END)
    while high - low > _NEAR:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline(_LONGEST)
        begins = file.tell()
        entry = _entry(file.readline(_LONGEST))
        if begins >= high or entry is None or entry[0] > offset:
            high = middle
        else:
            low = begins
    return low


def _entry(line: bytes) -> tuple[int, int] | None:
    """Return a line of an index; None for half a line, where a disk was full."""
    words = line.split()
    return (int(words[0]), int(words[1])) if len(words) == 2 and all(word.isdigit() for word in words) else None


class LogTimes:
    """The index of one log, read again as it grows."""

    def __init__(self, log: Path, otherwise: datetime | None = None) -> None:
        """`otherwise` is the time of all of a log that has no index; None: when the log was written last."""
        self._log, self._otherwise = log, otherwise
        self._size = -1
        self._offsets: list[int] = []
        self._moments: list[int] = []

    def at(self, offset: int) -> datetime | None:
        """Return when the byte at `offset` came; None when nobody knows."""
        if not self._offsets or offset >= self._offsets[-1]:
            self._read()
        if not self._offsets:
            return self._otherwise or self._written()
        return from_micros(self._moments[max(bisect_right(self._offsets, offset) - 1, 0)] * 1000)

    def _read(self) -> None:
        """Read the index when it has grown. Half a line, where a disk was full, is passed over."""
        file = Path(f"{self._log}{SUFFIX}")
        try:
            size = file.stat().st_size
            if size == self._size:
                return
            lines = file.read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return
        self._size, self._offsets, self._moments = size, [], []
        for words in map(str.split, lines):
            if len(words) == 2 and all(word.isdecimal() for word in words):
                offset, moment = map(int, words)
                if not self._offsets or offset >= self._offsets[-1]:
                    self._offsets.append(offset)
                    self._moments.append(max(moment, self._moments[-1] if self._moments else 0))

    def _written(self) -> datetime | None:
        try:
            return from_micros(int(self._log.stat().st_mtime * 1_000_000))
        except OSError:
            return None
