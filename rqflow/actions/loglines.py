"""Parts of a log: its first or last lines, those in which something is found, those since a time, without colours.

Works on what arrives, piece by piece.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from rqflow.exceptions import UsageError

#: Colours, titles and cursor movements of terminals.
_ANSI = re.compile(rb"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]")
#: A line without an end that is longer than this is passed on in pieces, which keeps memory small.
LONGEST = 1 << 20


#: Says when the byte at an offset of the log came; None: nobody knows.
Stamp = Callable[[int], datetime | None]


class Line(NamedTuple):
    """A line of a log with its end, and when it came. A gap stands between parts that do not touch, where lines around matches are shown."""

    text: bytes
    at: datetime | None = None
    is_gap: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Which lines of a log are meant."""

    head: int | None = None
    tail: int | None = None
    #: A regular expression, and how many lines around those that match it are shown.
    grep: str | None = None
    context: int = 0
    no_ansi: bool = False
    #: Only what came at or after this time.
    since: datetime | None = None

    def __post_init__(self) -> None:
        """Raise UsageError for what contradicts itself."""
        if self.head is not None and self.tail is not None:
            raise UsageError("--head and --tail exclude each other")
        if self.context and self.grep is None:
            raise UsageError("-C says how many lines around a match are shown", hint="Add --grep.")
        if self.grep is not None:
            try:
                re.compile(self.grep.encode())
            except re.error as error:
                raise UsageError(f"--grep: {self.grep!r} is no regular expression: {error}") from error

    @property
    def is_all(self) -> bool:
        """Whether that is the whole log, as it is."""
        return self == Part()


def of(chunks: Iterable[bytes], part: Part, stamp: Stamp | None = None) -> Iterable[bytes]:
    """Return the lines that `part` means of a log that comes in chunks; the last ones come when the log has ended. Without `stamp` all is new."""
    return chunks if part.is_all else (line.text for line in lines(chunks, part, stamp))


def lines(chunks: Iterable[bytes], part: Part, stamp: Stamp | None = None) -> Iterable[Line]:
    """Return the same as lines that say when they came, as `stamp` knows."""
    found = _lines(chunks, stamp)
    if part.since is not None:
        since = part.since
        found = (line for line in found if line.at is None or line.at >= since)
    if part.no_ansi:
        found = (line._replace(text=_ANSI.sub(b"", line.text)) for line in found)
    if part.grep is not None:
        found = _matching(found, re.compile(part.grep.encode()), part.context)
    if part.head is not None:
        found = _first(found, part.head)
    return found if part.tail is None else deque(found, maxlen=part.tail)


def _first(lines: Iterator[Line], count: int) -> Iterator[Line]:
    """Give the first lines, and wait for no more than these."""
    for _ in range(count):
        line = next(lines, None)
        if line is None:
            return
        yield line


def _lines(chunks: Iterable[bytes], stamp: Stamp | None) -> Iterator[Line]:
    """Divide a log into lines; one came when its last byte did."""
    rest, at = b"", 0

    def made(text: bytes) -> Line:
        nonlocal at
        at += len(text)
        return Line(text, stamp(at - 1) if stamp else None)

    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (made(line + b"\n") for line in whole)
        if len(rest) > LONGEST:
            yield made(rest)
            rest = b""
    if rest:
        yield made(rest)


def _matching(lines: Iterable[Line], pattern: re.Pattern[bytes], context: int) -> Iterator[Line]:
    """Give the lines that match and `context` lines before and after each; a gap `--` between parts that do not touch, as grep does."""
    before: deque[tuple[int, Line]] = deque(maxlen=context)
    last, until = -1, -1
    for number, line in enumerate(lines):
        if pattern.search(_ANSI.sub(b"", line.text)):
            wanted, until = [*before, (number, line)], number + context
        elif number <= until:
            wanted = [(number, line)]
        else:
            before.append((number, line))
            continue
        if context and last >= 0 and wanted[0][0] > last + 1:
            yield Line(b"--\n", is_gap=True)
        yield from (one for _, one in wanted)
        last = number
        before.clear()
