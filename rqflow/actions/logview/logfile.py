"""A log file as it is read by parts; it may grow meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rqflow.actions.logview.shown import CUT, Span

#: Bytes that are read at once.
STEP = 1 << 18


class LogFile:
    """An open log, and the size that it had when it was opened: what comes later is not looked at."""

    def __init__(self, descriptor: int) -> None:
        """Take an open file."""
        self._descriptor = descriptor
        seen = os.fstat(descriptor)
        self.size = seen.st_size
        self.inode = seen.st_ino

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset` on; fewer at the end."""
        count = min(count, self.size - offset)
        return os.pread(self._descriptor, count, offset) if count > 0 else b""

    def line_start(self, offset: int) -> int:
        """Return where the line begins in which the byte at `offset` stands (its end belongs to it)."""
        at = min(offset, self.size)
        while at > 0:
            first = max(at - STEP, 0)
            found = self.read(first, at - first).rfind(b"\n")
            if found >= 0:
                return first + found + 1
            at = first
        return 0

    def line_end(self, offset: int) -> int:
        """Return where the line break stands that ends the line of `offset`; the size of the file when there is none yet."""
        at = offset
        while data := self.read(at, STEP):
            found = data.find(b"\n")
            if found >= 0:
                return at + found
            at += len(data)
        return self.size

    def span(self, start: int, end: int) -> Span:
        """Return the line between two offsets; of a long one head and tail."""
        length = end - start
        if length <= 2 * CUT:
            return Span(start, length, self.read(start, length))
        return Span(start, length, self.read(start, CUT), self.read(end - CUT, CUT))


@contextmanager
def opened(path: Path) -> Iterator[LogFile]:
    """Open a log; raises FileNotFoundError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield LogFile(descriptor)
    finally:
        os.close(descriptor)
