"""Blocks of a log: up to 1,000 lines that follow each other, read from any place of the file without what stands elsewhere.

A block is named by the bytes where it begins and ends, which are always known; the numbers of its lines are known when the index is that far.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rqflow.actions.logview.logfile import LogFile
from rqflow.actions.logview.shown import ShownLine, show

#: Lines, and bytes, that a block has at most; a line that is longer than these is a block of its own.
LINES, BYTES = 1000, 160 << 10
#: Lines before the one that is looked for, where a block is made around it.
CONTEXT = 200

#: When the bytes from an offset on came (ms): in the order of the offsets.
Moments = Sequence[tuple[int, int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Lines that follow each other."""

    #: The bytes of the file that they are: [start, end); the size that the file had then.
    start: int
    end: int
    size: int
    lines: tuple[ShownLine, ...] = ()
    #: The number of the first line, from 1; None: not found out yet.
    first: int | None = None

    @property
    def is_at_end(self) -> bool:
        """Whether nothing follows yet."""
        return self.end >= self.size

    @property
    def ends_open(self) -> bool:
        """Whether its last line may go on: it has no end yet."""
        return bool(self.lines) and self.lines[-1].start + self.lines[-1].length == self.end


def after(file: LogFile, offset: int, count: int = LINES) -> Block:
    """Return up to `count` lines from the line of `offset` on."""
    start = file.line_start(offset)
    data = file.read(start, BYTES)
    at = 0
    for _ in range(count):
        found = data.find(b"\n", at)
        if found < 0:
            break
        at = found + 1
    else:
        return _made(file, start, data[:at])
    if start + len(data) >= file.size:
        return _made(file, start, data)
    return _made(file, start, data[:at]) if at else _long(file, start)


def before(file: LogFile, offset: int, count: int = LINES, room: int = BYTES) -> Block:
    """Return up to `count` lines, of up to `room` bytes, that end before the line of `offset`: the size of the file when the last ones are meant."""
    end = offset if offset >= file.size else file.line_start(offset)
    if end <= 0:
        return Block(start=0, end=0, size=file.size)
    first = max(end - room, 0)
    data = file.read(first, end - first)
    at = len(data) - 1 if data.endswith(b"\n") else len(data)
    for _ in range(count):
        found = data.rfind(b"\n", 0, at)
        if found < 0:
            break
        at = found
    else:
        return _made(file, first + at + 1, data[at + 1:])
    if first == 0:
        return _made(file, 0, data)
    # Where the block is full it begins with the first whole line; a line that fills it alone is looked for on its own.
    return _made(file, first + at + 1, data[at + 1:]) if at < len(data) - 1 else _long(file, file.line_start(end - 1))


def around(file: LogFile, offset: int, count: int = LINES, context: int = CONTEXT) -> Block:
    """Return up to `count` lines among which is that of `offset`, and up to `context` before it."""
    line = file.line_start(offset)
    first = before(file, line, context, BYTES // 2)
    block = after(file, first.start, count)
    return block if first.end - first.start <= BYTES // 2 and block.end > line else after(file, line, count)


def timed(block: Block, moments: Moments) -> Block:
    """Return the block with the time at which the last byte of each line came; `moments` has the last one before the block, and those within."""
    if not moments:
        return block
    offsets = [offset for offset, _ in moments]
    return replace(block, lines=tuple(
        replace(line, at=moments[max(bisect_right(offsets, line.start + line.length) - 1, 0)][1]) for line in block.lines))


def _made(file: LogFile, start: int, data: bytes) -> Block:
    return Block(start=start, end=start + len(data), size=file.size, lines=tuple(_lines(file, start, data)))


def _lines(file: LogFile, start: int, data: bytes) -> Iterator[ShownLine]:
    at = 0
    while at < len(data):
        found = data.find(b"\n", at)
        end = len(data) if found < 0 else found
        yield show(file.span(start + at, start + end))
        at = end + 1


def _long(file: LogFile, start: int) -> Block:
    """Return the block of one line that is too long to be read whole."""
    end = file.line_end(start)
    return Block(start=start, end=min(end + 1, file.size), size=file.size, lines=(show(file.span(start, end)),))
