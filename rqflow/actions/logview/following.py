"""A log as it grows: its lines as they come, and how the one stands that has no end yet, from any byte where a line begins."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rqflow import clock
from rqflow.actions.logview.logfile import LogFile, opened
from rqflow.actions.logview.shown import CUT, ShownLine, Span, show
from rqflow.recorder import logtimes

#: Bytes that are read at once.
STEP = 128 << 10
#: Bytes by which a reader may be behind; what is more is passed over, and said to be.
BEHIND = 2 << 20
#: How far back what is shown begins, when something was passed over.
TAIL = 64 << 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Grown:
    """What came."""

    lines: tuple[ShownLine, ...]
    #: The line that has no end yet; None: there is none, or it has not changed.
    open: ShownLine | None
    #: Where the first line begins that is not among `lines`: to go on from there tells nothing twice, and leaves nothing out.
    upto: int
    #: Where what came begins, when what stands before it was passed over, because it came faster than it was read; else None.
    passed_over: int | None = None
    #: Whether there was more than is read at once.
    is_part: bool = False


class Follower:
    """Reads one log from a byte on as it grows, some at a time; keeps little of it in mind."""

    def __init__(self, path: Path, start: int) -> None:
        """Begin at `start`, where a line begins; what is not there yet may come."""
        self.path = path
        #: Where the line begins that has no end yet.
        self.upto = start
        self._head, self._tail, self._length = b"", b"", 0
        self._inode = 0

    def has_more(self) -> bool:
        """Tell whether `step` would find something, or that the log is gone. Takes microseconds: reads nothing."""
        try:
            seen = os.stat(self.path)  # noqa: PTH116 - many are asked many times a second, and a Path costs more
        except FileNotFoundError:
            return self._inode != 0
        return seen.st_size != self.upto + self._length or self._inode not in {0, seen.st_ino}

    def step(self) -> Grown | None:
        """Return what has come since the last call, or a part of it; None when nothing has. Raises FileNotFoundError when the log is gone."""
        try:
            with opened(self.path) as file:
                if self._inode and file.inode != self._inode:
                    raise FileNotFoundError(f"{self.path} is another file now")
                self._inode = file.inode
                return self._read(file)
        except FileNotFoundError:
            if self._inode:
                raise
            # It has not begun.
            return None

    def _read(self, file: LogFile) -> Grown | None:
        passed_over = self._catch_up(file)
        data = file.read(self.upto + self._length, STEP)
        if not data:
            return None
        came = self._came(self.upto + self._length + len(data))
        *ended, rest = data.split(b"\n")
        lines = []
        for part in ended:
            self._take(part)
            lines.append(show(self._span(), came(self.upto + self._length)))
            self.upto += self._length + 1
            self._head, self._tail, self._length = b"", b"", 0
        self._take(rest)
        rest_shown = show(self._span(), came(self.upto + self._length)) if self._length else None
        return Grown(lines=tuple(lines), open=rest_shown, upto=self.upto, passed_over=passed_over, is_part=len(data) == STEP)

    def _came(self, end: int) -> Callable[[int], int]:
        """Return what says when the bytes up to `end` came (ms): what the archive has not noted came now."""
        moments = logtimes.between(self.path, self.upto, end + 1) or [(0, clock.to_micros(clock.utcnow()) // 1000)]
        offsets = [offset for offset, _ in moments]
        return lambda offset: moments[max(bisect_right(offsets, offset) - 1, 0)][1]

    def _catch_up(self, file: LogFile) -> int | None:
        """Pass over what is too much to be shown; return where it goes on."""
        if file.size - self.upto - self._length <= BEHIND:
            return None
        start = file.line_start(file.size - TAIL)
        if start <= self.upto:
            return None
        self.upto, self._head, self._tail, self._length = start, b"", b"", 0
        return start

    def _take(self, part: bytes) -> None:
        """Add bytes to the line that has no end yet; of a long one head and tail are kept."""
        self._length += len(part)
        if len(self._head) < 2 * CUT:
            room = 2 * CUT - len(self._head)
            self._head += part[:room]
        self._tail = (self._tail + part)[-CUT:]

    def _span(self) -> Span:
        if self._length <= 2 * CUT:
            return Span(self.upto, self._length, self._head)
        return Span(self.upto, self._length, self._head[:CUT], self._tail)
