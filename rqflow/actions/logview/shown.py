"""From the bytes of a line to what is shown of it, and what the line means. Pure.

Shown is text: bytes that are no UTF-8 become U+FFFD, controls their pictures (NUL: U+2400), of a progress bar (carriage returns) its last
state. Of what is for terminals only colours stay, as they are, for whoever shows them; all else (titles, links, cursor movements) goes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

#: Bytes that are shown of one line; the rest is said to be left out.
CUT = 4 << 10

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])?")
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_PICTURES = {code: 0x2400 + code for code in range(0x20) if code not in {0x09, 0x1B}} | {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
_MARK = re.compile(r"(?:^|\s)(?:::|##\[)(group|endgroup|error|warning)(?:\s[^\]:]*)?(?:::|\])(.*)")

#: Text of which at least one stands in each line that counts as an error: it is quickly looked for in much text.
ERROR_LITERALS = (b"::error", b"##[error", b"Traceback (most recent call last):", b"ERROR", b"FATAL", b"CRITICAL", b"rror:", b"xception:",
                  b"atal:", b"anic:")
_ERROR = re.compile(
    rb"(?:^|\s)(?:::error(?:\s[^:]*)?::|##\[error\])"      # a marker
    rb"|^\s*Traceback \(most recent call last\):"          # Python
    rb"|^\s*(?:[\w.]+\.)?\w*(?:Error|Exception): "         # how it ends, and Java's
    rb"|\b(?:ERROR|FATAL|CRITICAL)\b"                      # a level of a logger
    rb"|^(?:[\w./+-]+: )*(?:[Ee]rror|[Ff]atal(?: error)?|[Pp]anic): ",   # commands, compilers, Go
)


class Kind(str, Enum):
    """What a line means beside its text."""

    PLAIN = "plain"
    GROUP = "group"
    ENDGROUP = "endgroup"
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Span:
    """Where a line stands in its file, without its end, and what of it was read: all of it as `head`, or of a long one head and tail."""

    start: int
    length: int
    head: bytes
    tail: bytes = b""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownLine:
    """A line as it is shown."""

    #: At which byte it begins, and how many it has without its end.
    start: int
    length: int
    #: The text, with its colours.
    text: str
    kind: Kind = Kind.PLAIN
    #: The title of a group, or what an error or a warning says.
    title: str = ""
    #: Bytes that are not shown, because the line is too long.
    left_out: int = 0
    #: When it came, in milliseconds since the epoch; None: nobody knows.
    at: int | None = None

    @property
    def plain(self) -> str:
        """The text without colours."""
        return _COLOUR.sub("", self.text)


def show(span: Span, at: int | None = None) -> ShownLine:
    """Return what is shown of a line that came `at` this time (ms)."""
    raw, left_out = _last_state(span)
    text = cleaned(raw)
    kind, title = meaning(_COLOUR.sub("", text))
    if kind is Kind.PLAIN and is_error(raw):
        kind = Kind.ERROR
    return ShownLine(start=span.start, length=span.length, text=text, kind=kind, title=title, left_out=left_out, at=at)


def cleaned(raw: bytes) -> str:
    """Return bytes without line ends as text in which nothing is left that a page or a terminal would obey, but colours."""
    text = raw.decode("utf-8", "replace")
    if text.isprintable():
        return text
    if "\x1b" in text:
        text = _ESCAPE.sub(lambda found: found[0] if _COLOUR.fullmatch(found[0]) else "", text)
    return text.translate(_PICTURES)


def meaning(plain: str) -> tuple[Kind, str]:
    """Return what a line without colours means by its marker (`::group::Title`), and the marker's text."""
    if "::" not in plain and "##[" not in plain:
        return Kind.PLAIN, ""
    found = _MARK.search(plain)
    return (Kind(found[1]), found[2].strip()) if found else (Kind.PLAIN, "")


def is_error(line: bytes) -> bool:
    """Tell whether a line counts as an error: `::error::`, a Traceback, `SomethingError: `, `error: `, or a word ERROR, FATAL, CRITICAL.

    What rqflow itself adds at the end of a log does not count: it is said elsewhere.
    """
    if not any(one in line for one in ERROR_LITERALS) or line.startswith(b"rqflow: "):
        return False
    return _ERROR.search(_without_escapes(line)) is not None


def _last_state(span: Span) -> tuple[bytes, int]:
    """Return the bytes of a line that are shown, those after the last carriage return that something visible follows, and how many are left out."""
    if not span.tail:
        last = _after_return(span.head)
        first = _cut(last) if len(last) > CUT else last
        return first, len(last) - len(first)
    last = _after_return(span.tail)
    if len(last) < len(span.tail.rstrip(b"\r")):
        return last, 0
    first = _cut(span.head)
    return first, span.length - len(first)


def _cut(line: bytes) -> bytes:
    """Return what is shown of a line that is too long: no half character is left at its end."""
    first = line[:CUT]
    for back in (1, 2, 3):
        byte = first[-back]
        if byte >= 0xC0:
            return first[:-back] if (2 + (byte >= 0xE0) + (byte >= 0xF0)) > back else first
        if byte < 0x80:
            break
    return first


def _after_return(line: bytes) -> bytes:
    line = line.rstrip(b"\r")
    if b"\r" not in line:
        return line
    for part in reversed(line.split(b"\r")):
        if _without_escapes(part).strip():
            return part
    return b""


def _without_escapes(raw: bytes) -> bytes:
    return raw if b"\x1b" not in raw else _ESCAPE.sub("", raw.decode("latin-1")).encode("latin-1")
