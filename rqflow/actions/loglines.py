"""Parts of a log: its first or last lines, those in which something is found, without colours. Works on what arrives, piece by piece."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rqflow.exceptions import UsageError

#: Colours, titles and cursor movements of terminals.
_ANSI = re.compile(rb"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]")
#: A line without an end that is longer than this is passed on in pieces, which keeps memory small.
LONGEST = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Which lines of a log are meant."""

    head: int | None = None
    tail: int | None = None
    #: A regular expression, and how many lines around those that match it are shown.
    grep: str | None = None
    context: int = 0
    no_ansi: bool = False

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


def of(chunks: Iterable[bytes], part: Part) -> Iterable[bytes]:
    """Return the lines that `part` means of a log that comes in chunks; the last ones come when the log has ended."""
    if part.is_all:
        return chunks
    found = _lines(chunks)
    if part.no_ansi:
        found = (_ANSI.sub(b"", line) for line in found)
    if part.grep is not None:
        found = _matching(found, re.compile(part.grep.encode()), part.context)
    if part.head is not None:
        found = _first(found, part.head)
    return found if part.tail is None else deque(found, maxlen=part.tail)


def _first(lines: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Give the first lines, and wait for no more than these."""
    for _ in range(count):
        line = next(lines, None)
        if line is None:
            return
        yield line


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in whole)
        if len(rest) > LONGEST:
            yield rest
            rest = b""
    if rest:
        yield rest


def _matching(lines: Iterable[bytes], pattern: re.Pattern[bytes], context: int) -> Iterator[bytes]:
    """Give the lines that match and `context` lines before and after each; a line `--` between parts that do not touch, as grep does."""
    before: deque[tuple[int, bytes]] = deque(maxlen=context)
    last, until = -1, -1
    for number, line in enumerate(lines):
        if pattern.search(_ANSI.sub(b"", line)):
            wanted, until = [*before, (number, line)], number + context
        elif number <= until:
            wanted = [(number, line)]
        else:
            before.append((number, line))
            continue
        if context and last >= 0 and wanted[0][0] > last + 1:
            yield b"--\n"
        yield from (text for _, text in wanted)
        last = number
        before.clear()
