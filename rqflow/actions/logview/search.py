"""Finding lines in a log: those with some text, or those that count as errors. A call looks for a while, and says where to go on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rqflow import clock
from rqflow.actions.logview.logfile import STEP, LogFile
from rqflow.actions.logview.shown import ERROR_LITERALS, is_error
from rqflow.exceptions import UsageError

#: Lines that one call finds at most; seconds that it looks, a long line more; characters that are looked for.
MOST, SECONDS, LONGEST = 1000, 1.0, 200

#: Yields where in some bytes something is found, in their order; may name a line several times.
Finder = Callable[[bytes], Iterator[int]]


@dataclass(frozen=True, slots=True)
class Hit:
    """A line in which something was found: where it begins, and its number."""

    offset: int
    line: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What one call found, and from where the next one goes on."""

    hits: tuple[Hit, ...]
    #: Where a line begins, and its number: the last one, when it has no end yet.
    upto: int
    line: int
    size: int
    #: Whether the log was looked through to its end.
    is_all: bool = False


def for_text(text: str) -> Finder:
    """Return what finds `text` in whatever case; raises UsageError when it is empty or too long."""
    if not text or len(text) > LONGEST or "\n" in text:
        raise UsageError(f"a log is searched for 1 to {LONGEST} characters")
    if text.isascii():
        return _literal(text.lower().encode())
    # Bytes know no case beyond ASCII: each letter in both of its cases.
    either = ("|".join(sorted({re.escape(one) for one in (letter, letter.lower(), letter.upper())})) for letter in text)
    pattern = re.compile("".join(f"(?:{one})" for one in either).encode(), re.IGNORECASE)
    return lambda data: (found.start() for found in pattern.finditer(data))


def for_errors(data: bytes) -> Iterator[int]:
    """Find lines that count as errors (`shown.is_error`)."""
    spots = sorted(spot for one in ERROR_LITERALS for spot in _all(data, one))
    upto = -1
    for spot in spots:
        if spot > upto:
            end = data.find(b"\n", spot)
            upto = end if end >= 0 else len(data)
            if is_error(data[data.rfind(b"\n", 0, spot) + 1:upto]):
                yield spot


def search(file: LogFile, finder: Finder, start: int = 0, line: int = 1, *, most: int = MOST, seconds: float = SECONDS) -> Found:
    """Look for lines from `start` on, where the line of number `line` begins, until `most` are found, or for so many seconds."""
    deadline = clock.monotonic() + seconds
    hits: list[Hit] = []
    #: Bytes before `at` that are looked at again, because what is looked for may stand across a cut of a long line.
    at, kept = start, b""
    while at < file.size:
        data = file.read(at, STEP)
        if not data:
            break
        whole = data.rfind(b"\n") + 1
        if at + len(data) < file.size and whole:
            data = data[:whole]
        hits_here = _within(finder(kept + data), kept + data, at - len(kept), start, line)
        for hit in hits_here:
            if not hits or hits[-1].offset != hit.offset:
                if len(hits) >= most:
                    return Found(hits=tuple(hits), upto=hit.offset, line=hit.line, size=file.size)
                hits.append(hit)
        at += len(data)
        if whole:
            start, line, kept = at if data.endswith(b"\n") else at - len(data) + whole, line + data.count(b"\n"), b""
        else:
            # Within a long line.
            kept = (kept + data)[-4 * LONGEST:]
        if whole and at < file.size and clock.monotonic() > deadline:
            return Found(hits=tuple(hits), upto=start, line=line, size=file.size)
    return Found(hits=tuple(hits), upto=start, line=line, size=file.size, is_all=True)


def _within(spots: Iterator[int], data: bytes, offset: int, start: int, line: int) -> Iterator[Hit]:
    """Give the lines, each once, in which spots of `data`, which stands at `offset`, are; the line that it begins in began at `start`."""
    counted, number, upto = 0, line, -1
    for spot in spots:
        if spot < upto:
            continue
        begins = data.rfind(b"\n", 0, spot) + 1
        number, counted = number + data.count(b"\n", counted, begins), begins
        end = data.find(b"\n", spot)
        upto = end if end >= 0 else len(data)
        yield Hit(offset + begins if begins else start, number)


def _literal(text: bytes) -> Finder:
    return lambda data: _all(data.lower(), text)


def _all(data: bytes, text: bytes) -> Iterator[int]:
    at = data.find(text)
    while at >= 0:
        yield at
        at = data.find(text, at + 1)
