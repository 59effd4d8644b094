"""Where in its file the log of each execution begins: kept beside the logs, so that no loss of Redis or of the archive makes it doubtful.

A try has a second execution when it gave its slot back (reschedule) or went back to its queue: its log follows the first in the same file, and
often begins with the same words. So a piece that comes again is known by its execution alone. One line per execution is appended to one file,
before the first byte of its log is written; a full file is put aside, and the one that was put aside before goes.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from pathlib import Path

#: The file below the archive's folder, and the one that was put aside.
NAME, OLD = ".beginnings", ".beginnings.old"
#: Bytes after which a file is put aside: several hundred thousand executions.
FULL = 16 << 20
#: Executions that are kept in mind, those that were asked for last; each new file has them too.
MOST = 4_000


class Beginnings:
    """What is known of the logs below `folder`; may be used by several processes."""

    def __init__(self, folder: Path, *, full: int = FULL, most: int = MOST) -> None:
        """Nothing is read or written yet."""
        self._folder = folder
        self._full, self._most = full, most
        self._mind: dict[str, int] = {}
        self._descriptor = -1
        self._size = 0

    def of(self, execution_id: str, size: int) -> int:
        """Return at which byte of its file, which has `size` bytes now, the log of an execution begins: when it is new, at the end.

        Raises OSError when that cannot be kept; nothing is to be written then.
        """
        begins = self._mind.pop(execution_id, None)
        if begins is None:
            # In an empty file nobody has begun.
            begins = self._found(execution_id) if size else None
            if begins is None:
                begins = size
                self._write(execution_id, begins)
            if len(self._mind) >= self._most:
                del self._mind[next(iter(self._mind))]
        self._mind[execution_id] = begins
        return begins

    def _found(self, execution_id: str) -> int | None:
        for name in (NAME, OLD):
            if (begins := _search(self._folder / name, _key(execution_id))) is not None:
                return begins
        return None

    def _write(self, execution_id: str, begins: int) -> None:
        if self._descriptor < 0 or self._size >= self._full:
            self._open()
        self._append(b"%s %d\n" % (_key(execution_id), begins))

    def _append(self, lines: bytes) -> None:
        while lines:
            written = os.write(self._descriptor, lines)
            lines, self._size = lines[written:], self._size + written

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _open(self) -> None:
        """Open the file for appending; put a full one aside first, and say in the new one again what is in mind."""
        self.close()
        path = self._folder / NAME
        self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size >= self._full:
            path.replace(self._folder / OLD)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(self._descriptor).st_size
        if not self._size:
            self._append(b"".join(b"%s %d\n" % (_key(name), begins) for name, begins in self._mind.items()))


def _key(execution_id: str) -> bytes:
    """Return what stands for an execution: of one length, and without anything that a line may not have."""
    return hashlib.blake2b(execution_id.encode(), digest_size=10).hexdigest().encode()


def _search(path: Path, key: bytes) -> int | None:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            # The last one: what a full disk cut off was said again.
            at = text.rfind(key + b" ")
            end = text.find(b"\n", at)
            return int(text[at + len(key) + 1:end]) if 0 <= at < end else None
    except (FileNotFoundError, ValueError):
        # Not there, or empty.
        return None
