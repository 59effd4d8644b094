"""What tasks print, made harmless for the terminal of who reads it: colours stay, whatever else a terminal obeys does not.

A terminal that is told to may set its title, write into the clipboard, move over what was printed before, or type an answer at the prompt.
"""

from __future__ import annotations

import re

#: A whole sequence of which only colours (CSI … m) stay; strings (OSC, DCS …) end with BEL or ST.
_SEQUENCE = re.compile(rb"\x1b\[[0-9;:?<=>]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-OQ-WYZ`-~]")
_COLOUR = re.compile(rb"\x1b\[[0-9;:]*m")
#: An escape that begins no colour.
_ESCAPE = re.compile(rb"\x1b(?!\[[0-9;:]*m)")
#: The beginning of one whose rest may come.
_BEGUN = re.compile(rb"\x1b(?:\[[0-9;:?<=> -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)?\Z")
#: Controls that no terminal should get: of ASCII all but tab, line feed, carriage return and backspace; of Latin-1, in UTF-8.
_CONTROL = re.compile(rb"[\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]|\xc2[\x80-\x9f]")
#: Bytes after which a sequence that never ends is none.
_LONGEST = 4096


class Harmless:
    """Makes a stream of bytes harmless, piece by piece."""

    def __init__(self) -> None:
        """Begin."""
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Return what may be shown by now; the beginning of a sequence waits for its rest."""
        data, self._rest = self._rest + data, b""
        if (begun := _BEGUN.search(data)) and len(data) - begun.start() < _LONGEST:
            data, self._rest = data[:begun.start()], data[begun.start():]
        return clean(data)

    def rest(self) -> bytes:
        """Return what waited for a rest that did not come."""
        data, self._rest = self._rest, b""
        return clean(data)


def clean(data: bytes) -> bytes:
    """Return whole data without what a terminal obeys, but for colours; an escape that is left is shown as ^[."""
    shown = _CONTROL.sub(b"", _SEQUENCE.sub(lambda found: found[0] if _COLOUR.fullmatch(found[0]) else b"", data))
    return _ESCAPE.sub(b"^[", shown)
