"""The shepherd's journal: which processes it started and how they ended, kept until the worker has no more use for it.

An append-only file of JSON lines, each with a format number. A shepherd that starts reads what its predecessor left: processes that may
still run, and ends that no worker has asked for. It is not synced to disk: after a power cut there is nothing left to watch.

Only the standard library and rqflow's base are imported here: the shepherd uses this module.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from rqflow.wire import decode, encode
from rqflow.worker.shepherd_protocol import Ended, from_plain, joined, line, to_plain

FORMAT = 1
#: A journal longer than this, and than twice what was open the last time, is written anew with what is open; an empty one much earlier.
_REWRITE_SIZE, _EMPTY_SIZE = 4 << 20, 64 << 10


@dataclass(kw_only=True, slots=True)
class Started:
    """A process as the journal remembers it, from just before its start, when `pid` is 0. `started` is CLOCK_BOOTTIME.

    `earliest` and `latest` enclose its start time as /proc/PID/stat has it, in ticks. That file itself is not read: the kernel lets the
    reader wait until the new process has loaded its program.
    """

    id: str
    earliest: int
    boot: str
    started: float
    pid: int = 0
    latest: int = 0
    timeout: float | None = None
    fence: float | None = None
    grace: float = 10.0
    outputs: tuple[str, ...] = ()
    try_number: int = 1
    memo: str = ""
    #: What keeps its limits (Confinement.plain); None: it has none.
    confined: Mapping[str, Any] | None = None


class Journal:
    """What is open: `running` and `ended`, by execution id, on disk and in memory."""

    def __init__(self, path: Path) -> None:
        """Read what `path` holds, if it exists."""
        self.running: dict[str, Started] = {}
        self.ended: dict[str, Ended] = {}
        self._accepted: set[str] = set()
        self._path = path
        self._pending: list[bytes] = []
        self._rewrite_at = _REWRITE_SIZE
        self._descriptor = self._open()
        data = path.read_bytes()
        for text in data.splitlines():
            self._replay(text)
        if data and not data.endswith(b"\n"):
            os.write(self._descriptor, b"\n")

    def intend(self, entry: Started) -> None:
        """Note that a process is about to be started."""
        self.running[entry.id] = entry
        self._pending.append(_start_line(entry))

    def start(self, name: str, pid: int, latest: int) -> None:
        """Note that the intended process `name` runs."""
        entry = self.running[name]
        entry.pid, entry.latest = pid, latest
        self._pending.append(joined(_START, encode({"id": name, "pid": pid, "latest": latest})))

    def fence(self, until: Mapping[str, float]) -> None:
        """Note by when (CLOCK_BOOTTIME) these processes must be dead."""
        for name, moment in until.items():
            self.running[name].fence = moment
        self._pending.append(line({"format": FORMAT, "what": "fence", "until": dict(until)}, b"{}"))

    def end(self, entry: Ended, body: bytes) -> None:
        """Note how a process ended; `body` is the entry as JSON, without the memo that the start has."""
        self.running.pop(entry.id, None)
        self.ended[entry.id] = entry
        self._pending.append(_end_line(body))

    def accept(self, ids: Iterable[str]) -> None:
        """Note that the broker has taken the ends `ids`."""
        known = [name for name in ids if name in self.ended]
        self._accepted.update(known)
        if known:
            self._pending.append(_ids_line("accepted", known))

    def forget(self, ids: Iterable[str]) -> None:
        """Drop the ends `ids`."""
        known = [name for name in ids if self.ended.pop(name, None) is not None]
        self._accepted.difference_update(known)
        if known:
            self._pending.append(_ids_line("forgotten", known))

    def open_ends(self) -> list[Ended]:
        """Return the ends that are not forgotten, those that were accepted marked so."""
        return [replace(entry, accepted=True) if name in self._accepted else entry for name, entry in self.ended.items()]

    def flush(self) -> None:
        """Write what was noted, in one call; raises OSError when the disk is full, and keeps it for the next time."""
        if not self._pending:
            return
        data = b"".join(self._pending)
        written = os.write(self._descriptor, data)
        if written < len(data):
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
            raise OSError(f"{self._path}: only a part of the entry could be written")
        self._pending.clear()
        size = os.lseek(self._descriptor, 0, os.SEEK_END)
        if size > self._rewrite_at or (size > _EMPTY_SIZE and not self.running and not self.ended):
            self._rewrite()

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)

    def _rewrite(self) -> None:
        """Replace the file by one with the open entries only."""
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as stream:
            os.fchmod(stream.fileno(), 0o600)
            stream.writelines(_start_line(entry) for entry in self.running.values())
            stream.writelines(_end_line(encode(to_plain(entry))) for entry in self.ended.values())
            stream.write(_ids_line("accepted", self._accepted))
        fresh.replace(self._path)
        os.close(self._descriptor)
        self._descriptor = self._open()
        self._rewrite_at = max(_REWRITE_SIZE, 2 * os.fstat(self._descriptor).st_size)

    def _replay(self, text: bytes) -> None:
        """Apply one line; a torn or foreign one, which only a crash or another release leaves, is passed over."""
        try:
            plain = decode(text)
        except ValueError:
            return
        if plain.pop("format", None) != FORMAT:
            return
        what = plain.pop("what")
        if what == "start":
            arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items() if k in Started.__slots__}
            known = self.running.get(plain["id"])
            if known:
                self.running[plain["id"]] = replace(known, **arguments)
            elif "boot" in plain:
                # Else it is the second line of a start whose first one is torn.
                self.running[plain["id"]] = Started(**arguments)
        elif what == "fence":
            for name in plain["until"].keys() & self.running.keys():
                self.running[name].fence = plain["until"][name]
        elif what == "end":
            begun = self.running.pop(plain["id"], None)
            entry = from_plain(Ended, plain)
            entry.memo = entry.memo or (begun.memo if begun else "")
            self.ended[entry.id] = entry
        elif what == "accepted":
            self._accepted.update(name for name in plain["ids"] if name in self.ended)
        elif what == "forgotten":
            self._accepted.difference_update(plain["ids"])
            for name in plain["ids"]:
                self.ended.pop(name, None)


def _start_line(entry: Started) -> bytes:
    return joined(_START, encode(dict(zip(_FIELDS, _values(entry), strict=True))))


def _end_line(body: bytes) -> bytes:
    return joined(_END, body)


def _ids_line(what: str, ids: Iterable[str]) -> bytes:
    return line({"format": FORMAT, "what": what, "ids": list(ids)}, b"{}")


_START, _END = (encode({"format": FORMAT, "what": what}) for what in ("start", "end"))
_FIELDS = tuple(Started.__slots__)
_values = attrgetter(*_FIELDS)
