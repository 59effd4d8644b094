"""The log file of a try: what its last line was, and the lines that rqflow adds to it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

#: How much of the end of a log is looked through for the last line; longer lines are cut.
_TAIL = 64 << 10
_OURS = b"rqflow: "


def last_line(path: Path | str, *, closed: bool = False) -> str:
    """Return the last line that the task printed, without what ends it; empty when it printed nothing.

    `closed` says that our own lines may follow it: an earlier worker may have added them.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return ""
    try:
        size = os.fstat(descriptor).st_size
        data = os.pread(descriptor, _TAIL, max(size - _TAIL, 0))
    finally:
        os.close(descriptor)
    line = data.removesuffix(b"\n").rpartition(b"\n")[2]
    while closed and line.startswith(_OURS):
        data = data.removesuffix(b"\n").rpartition(b"\n")[0]
        line = data.rpartition(b"\n")[2]
    return line.decode(errors="replace").rstrip()


def tail(path: Path | str, count: int = 4096) -> str:
    """Return the last `count` bytes of a log; empty when there is none."""
    try:
        with open(path, "rb") as stream:
            stream.seek(max(stream.seek(0, os.SEEK_END) - count, 0))
            return stream.read(count).decode(errors="replace")
    except OSError:
        return ""


def add_lines(path: Path | str, lines: Sequence[str]) -> int:
    """Append `rqflow: ` and each of `lines` to the log, on lines of their own; return its size. Raises OSError when the disk is full."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        begun = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        text = "".join(f"rqflow: {line}\n" for entry in lines for line in entry.splitlines())
        data = (b"\n" if begun else b"") + text.encode(errors="replace")
        return size + os.write(descriptor, data)
    finally:
        os.close(descriptor)
