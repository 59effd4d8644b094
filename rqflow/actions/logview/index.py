"""Which line begins where in a log: a sparse index, made piece by piece, and kept in memory for the logs that were looked at last.

It has, for each 64 KiB of the file, how many lines end before it: 128 KiB for a log of 1 GB, whatever its lines are like, and as fast as line
breaks can be counted. Where between two entries a line begins is found by reading these 64 KiB.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left
from collections import OrderedDict
from pathlib import Path

from rqflow import clock
from rqflow.actions.logview.logfile import LogFile

#: Bytes at the beginning of a log by which it is known again.
BEGINNING = 256
#: Bytes of a log that one entry is about; logs, and entries of all of them, that are kept (8 bytes each).
GRAIN = 1 << 16
#: Bytes that are read at once.
READ = 1 << 20
MOST_LOGS, MOST_ENTRIES = 256, 1 << 20


class LineIndex:
    """The index of one log. Several threads may use it."""

    def __init__(self, file: LogFile) -> None:
        """Know nothing yet of this file."""
        self._inode, self._beginning = file.inode, file.read(0, BEGINNING)
        #: Line breaks before each GRAIN of bytes, as far as the index goes.
        self._before = array("Q", [0])
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._before)

    @property
    def covered(self) -> int:
        """Bytes of the log that the index knows."""
        return (len(self._before) - 1) * GRAIN

    def is_of(self, file: LogFile) -> bool:
        """Tell whether this is still the file, grown at most: one that was put in its place may have got its number, but begins otherwise."""
        return (self._inode == file.inode and self.covered <= file.size
                and file.read(0, len(self._beginning)) == self._beginning)

    def number_at(self, file: LogFile, offset: int, *, seconds: float) -> int | None:
        """Return the number, from 1, of the line that begins at `offset`; None when that is not found out in so many seconds: ask again."""
        if not self._cover(file, offset // GRAIN, seconds):
            return None
        known = offset // GRAIN
        return self._before[known] + file.read(known * GRAIN, offset - known * GRAIN).count(b"\n") + 1

    def offset_of(self, file: LogFile, number: int, *, seconds: float) -> int | None:
        """Return where line `number`, from 1, begins; the last line's beginning when there are fewer. None: ask again, as above."""
        breaks = number - 1
        if breaks <= 0:
            return 0
        deadline = clock.monotonic() + seconds
        while self._before[-1] < breaks and self.covered + GRAIN <= file.size:
            if clock.monotonic() > deadline:
                return None
            self._cover(file, min(len(self._before) + 63, file.size // GRAIN), seconds)
        entry = max(bisect_left(self._before, breaks) - 1, 0)
        data = file.read(entry * GRAIN, GRAIN)
        left, at = breaks - self._before[entry], 0
        while left and (found := data.find(b"\n", at)) >= 0:
            at, left = found + 1, left - 1
        if left or entry * GRAIN + at >= file.size:
            return file.line_start(max(file.size - 1, 0))
        return entry * GRAIN + at

    def _cover(self, file: LogFile, entry: int, seconds: float) -> bool:
        """Have the entry of this number, which is about bytes that the file has; tell whether it is there after so many seconds."""
        deadline = clock.monotonic() + seconds
        with self._lock:
            while len(self._before) <= entry:
                data = file.read(self.covered, READ)
                for first in range(0, len(data) - GRAIN + 1, GRAIN):
                    self._before.append(self._before[-1] + data.count(b"\n", first, first + GRAIN))
                if len(data) < GRAIN or (len(self._before) <= entry and clock.monotonic() > deadline):
                    return len(self._before) > entry
        return True


class LineIndexes:
    """The indexes of the logs that were looked at last."""

    def __init__(self, *, most_logs: int = MOST_LOGS, most_entries: int = MOST_ENTRIES) -> None:
        """Keep at most so many logs, and entries of all of them together, but always one log."""
        self._most_logs, self._most_entries = most_logs, most_entries
        self._kept: OrderedDict[Path, LineIndex] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, path: Path, file: LogFile) -> LineIndex:
        """Return the index of an open log; a new one when the file is another one than before, or has become shorter."""
        with self._lock:
            known = self._kept.pop(path, None)
            if known is None or not known.is_of(file):
                known = LineIndex(file)
            self._kept[path] = known
            while len(self._kept) > 1 and (len(self._kept) > self._most_logs or sum(map(len, self._kept.values())) > self._most_entries):
                self._kept.popitem(last=False)
            return known
