"""The spool: how tries ended, on the worker's own disk until the history has it.

Redis may lose what it was told, so an end is written here before it is told, and stays until a recorder has it in SQL. After Redis was put
right the worker tells all of it again. An append-only file of JSON lines, each with a format number.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from rqflow import clock, logs
from rqflow.broker.messages import End
from rqflow.states import TaskState
from rqflow.wire import decode, encode

logger = logging.getLogger(__name__)

FORMAT = 1
#: A file longer than this, and than twice what was open the last time, is written anew with what is open.
_REWRITE_SIZE = 1 << 20
_FIELDS = tuple(field.name for field in fields(End))


class Spool:
    """The ends that the history may not have yet, by execution id."""

    def __init__(self, path: Path) -> None:
        """Read what `path` holds, if it exists."""
        self._path = path
        self._open: dict[str, tuple[End, float]] = {}
        self._pending: list[bytes] = []
        self._rewrite_at = _REWRITE_SIZE
        self._is_synced = True
        for line in path.read_bytes().splitlines() if path.exists() else ():
            self._replay(line)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def __len__(self) -> int:
        """Return how many ends the history may not have yet."""
        return len(self._open)

    def get(self, execution_id: str) -> End | None:
        """Return the end of an execution, or None."""
        held = self._open.get(execution_id)
        return _aged(*held) if held else None

    def ends(self) -> list[End]:
        """Return all ends, how long ago they were brought up to date."""
        return [_aged(end, at) for end, at in self._open.values()]

    def named(self) -> dict[str, tuple[str, int, int]]:
        """Return all ends as an announcement names them: {execution: (run key, index, try)}."""
        return {name: (end.run_key, end.index, end.try_number) for name, (end, _) in self._open.items()}

    def add(self, ends: Iterable[End]) -> None:
        """Keep ends; those that are here already stay as they are."""
        for end in ends:
            if end.execution_id not in self._open:
                at = clock.timestamp() - end.ended_ago
                self._open[end.execution_id] = (end, at)
                self._pending.append(_line(end, at))

    def drop(self, execution_ids: Iterable[str]) -> None:
        """Let go of ends that the history has."""
        known = [name for name in execution_ids if self._open.pop(name, None)]
        if known:
            self._pending.append(encode({"format": FORMAT, "recorded": known}) + b"\n")

    def flush(self) -> None:
        """Write what is new, in one call. A disk that is full is said, and tried again the next time: nothing is held up by it."""
        if not self._pending:
            return
        data = b"".join(self._pending)
        try:
            written = os.write(self._descriptor, data)
            if written < len(data):
                os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
                raise OSError(f"only {written} of {len(data)} bytes could be written")
            self._pending.clear()
            self._is_synced = False
            if os.lseek(self._descriptor, 0, os.SEEK_END) > self._rewrite_at:
                self._rewrite()
        except OSError as error:
            logger.warning("%s cannot be written; ends are kept in memory until Redis and the history have them, so do not stop this worker: %s",
                           self._path, error, extra=logs.context("spool_failed"))

    def sync(self) -> None:
        """See what was written onto the disk: Redis does not take it now, and this machine may lose its power."""
        self.flush()
        if not self._is_synced:
            os.fdatasync(self._descriptor)
            self._is_synced = True

    def close(self) -> None:
        """Close the file."""
        self.flush()
        os.close(self._descriptor)

    def _rewrite(self) -> None:
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as stream:
            os.fchmod(stream.fileno(), 0o600)
            stream.writelines(_line(end, at) for end, at in self._open.values())
        fresh.replace(self._path)
        os.close(self._descriptor)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._rewrite_at = max(_REWRITE_SIZE, 2 * os.fstat(self._descriptor).st_size)

    def _replay(self, line: bytes) -> None:
        """Apply one line; a torn or foreign one, which only a crash or another release leaves, is passed over."""
        try:
            plain = decode(line)
            if plain.pop("format", None) != FORMAT:
                return
            for name in plain.pop("recorded", ()):
                self._open.pop(name, None)
            if plain:
                at = float(plain.pop("at"))
                end = _end(plain)
                self._open[end.execution_id] = (end, at)
        except (ValueError, TypeError, KeyError, AttributeError):
            logger.warning("%s: a line that cannot be read was passed over", self._path, extra=logs.context("spool_torn"))


def _aged(end: End, at: float) -> End:
    return replace(end, ended_ago=max(clock.timestamp() - at, 0.0))


def _line(end: End, at: float) -> bytes:
    plain = {name: getattr(end, name) for name in _FIELDS if name != "ended_ago"}
    return encode({"format": FORMAT, "at": at, **plain, "state": end.state.value}) + b"\n"


def _end(plain: dict[str, Any]) -> End:
    known = {name: value for name, value in plain.items() if name in _FIELDS}
    return End(**{**known, "state": TaskState(plain["state"]), "skip": tuple(plain["skip"])})
