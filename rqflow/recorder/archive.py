"""The archive of task logs on the hub: writes what the log stream brings, and gives it to readers while it grows.

The file is its own record: its size is how far the log is archived, and recorder/beginnings.py has where in it each execution begins. So a new
archive goes on where the one before it ended, whatever Redis remembers. A log that is whole is made read-only (0440); until then the file
has 0640. Whoever writes or follows a log has a shared lock (flock) on it, so that it is not removed for its age meanwhile.

While a disk of the hub has too little room, nothing is taken from the stream: logs wait with their workers, and go on by themselves.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath

from rqflow import clock, logs
from rqflow.broker.logstream import LogChunk, LogStream
from rqflow.exceptions import UsageError
from rqflow.recorder import logtimes
from rqflow.recorder.beginnings import Beginnings
from rqflow.recorder.logpath import checked
from rqflow.recorder.logtimes import LogTimes
from rqflow.recorder.loop import gathering, keep_running
from rqflow.recorder.room import Room

logger = logging.getLogger(__name__)

GROWING, WHOLE, FOLDER = 0o640, 0o440, 0o750
#: Bytes of pieces that came before their turn which the archive keeps; what is beyond, their senders send again.
WAITING_BYTES = 16 << 20
#: Errors that only this one path has; others (no room, no right) hold the archive until they are mended.
_HOPELESS = {errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EILSEQ}
#: Seconds for which pieces are gathered after some were written, and how many of them, or bytes, make it go on at once: a large log comes
#: in windows, and its sender waits for room.
GATHER_SECONDS, ENOUGH, ENOUGH_BYTES = 0.3, 400, 128 << 10
#: The longest time, in seconds, between two looks whether there is room again.
LOOK_AGAIN = 1.0
#: Seconds between two looks at a growing log, and for which a reader waits for the rest of one whose try has ended.
EVERY, PATIENCE = 0.1, 10.0


class LogArchive:
    """The one writer of the logs below `folder`; the leading hub runs it."""

    def __init__(self, stream: LogStream, folder: Path, room: Room | None = None) -> None:
        """Archive what `stream` brings, as long as there is `room`."""
        self.stream = stream
        self.folder = folder
        self._room = room or Room([], 0)
        self._is_held = False
        #: Bytes written since the start, for metrics.
        self.archived = 0
        self._beginnings = Beginnings(folder)
        self._waiting: dict[str, dict[int, LogChunk]] = {}

    def run(self, stop: threading.Event) -> None:
        """Archive until `stop` is set; what is not written by then stays in the stream."""
        keep_running(gathering(self._counted_step, stop, pause=GATHER_SECONDS, enough=ENOUGH), stop, name="log archive")

    def step(self, block_ms: int = 1000) -> int:
        """Write what has come, waiting up to `block_ms` for it; return the number of pieces.

        Raises OSError when the disk is full or refuses: nothing is acknowledged, and the senders wait.
        """
        shortage = self._room.shortage()
        if shortage:
            self._hold(shortage)
            clock.sleep(min(block_ms / 1000, LOOK_AGAIN))
            return 0
        try:
            taken = self._take(block_ms)
        except OSError as error:
            self._hold(f"{error.filename or self.folder} cannot be written: {error.strerror or error}")
            raise
        if self._is_held:
            self._is_held = False
            self.stream.release()
            logger.info("the archive takes logs again", extra=logs.context("archive_released"))
        return taken

    def _counted_step(self) -> int:
        """Make a step, and tell how much it did by the measure of ENOUGH."""
        before = self.archived
        pieces = self.step()
        return max(pieces, ENOUGH) if self.archived - before >= ENOUGH_BYTES else pieces

    def _hold(self, reason: str) -> None:
        """Say that no log is taken now: to whoever reads logs each time, in our own log once."""
        held = self.stream.hold(reason)
        if not self._is_held:
            logger.warning("no logs are archived since %s: %s. Nothing is lost: tasks go on, and their logs wait on the workers until there is room",
                           held.since.isoformat(timespec="seconds"), reason, extra=logs.context("archive_held", reason=reason))
        self._is_held = True

    def _take(self, block_ms: int) -> int:
        entries = self.stream.read(block_ms=block_ms)
        if not entries:
            return 0
        by_path: dict[str, list[LogChunk]] = {}
        for _, chunk in entries:
            by_path.setdefault(chunk.path, []).append(chunk)
        archived: dict[str, int] = {}
        whole: set[str] = set()
        for path, chunks in by_path.items():
            self._write(path, chunks, archived, whole)
        left = {chunk.execution_id for _, chunk in entries if chunk.leaves}
        self.stream.acknowledge(archived, entries[-1][0], whole=whole, settled=whole & left)
        return len(entries)

    def _write(self, path: str, chunks: Sequence[LogChunk], archived: dict[str, int], whole: set[str]) -> None:
        """Write the pieces of one file; note how far each execution got, and which are complete."""
        try:
            target = f"{self.folder}/{checked(path)}"
            if len(chunks) == 1 and self._write_new(target, chunks[0]):
                archived[chunks[0].execution_id] = len(chunks[0].data)
                whole.add(chunks[0].execution_id)
                return
            descriptor = _open(Path(target))
        except (UsageError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _HOPELESS:
                raise
            logger.error("a log is dropped: %s", error, extra=logs.context("log_dropped", path=path))
            archived.update({chunk.execution_id: chunk.offset + len(chunk.data) for chunk in chunks})
            whole.update(chunk.execution_id for chunk in chunks if chunk.last)
            return
        try:
            for chunk in chunks:
                self._place(target, descriptor, chunk, archived, whole)
        finally:
            os.close(descriptor)

    def _write_new(self, target: str, chunk: LogChunk) -> bool:
        """Write a log that came in one piece, as most do, the short way; False when it is another one, or its file is there already.

        Nobody else can have begun the file, so it is not locked: that is for files that are old enough to be removed.
        """
        if not chunk.last or chunk.offset or chunk.execution_id in self._waiting:
            return False
        try:
            descriptor = _made(target)
        except FileExistsError:
            return False
        try:
            self._beginnings.of(chunk.execution_id, 0)
            _write_all(descriptor, chunk.data, 0)
            os.fchmod(descriptor, WHOLE)
        finally:
            os.close(descriptor)
        self.archived += len(chunk.data)
        return True

    def _place(self, target: str, descriptor: int, chunk: LogChunk, archived: dict[str, int], whole: set[str]) -> None:
        """Write what the file lacks of a piece, and then the pieces that waited for it; one beyond the file's end waits."""
        size = os.fstat(descriptor).st_size
        base = self._beginnings.of(chunk.execution_id, size)
        next_one: LogChunk | None = chunk
        while next_one and base + next_one.offset <= size:
            end = base + next_one.offset + len(next_one.data)
            if end > size:
                if size or not next_one.last:
                    logtimes.note(target, size, next_one.at)
                _append(descriptor, next_one.data[size - end:], size)
                self.archived += end - size
                size = end
            if next_one.last:
                whole.add(chunk.execution_id)
                if size == end:
                    os.fchmod(descriptor, WHOLE)
            next_one = self._next_waiting(chunk.execution_id, size - base)
        if next_one:
            self._wait(next_one)
        archived[chunk.execution_id] = size - base

    def _wait(self, chunk: LogChunk) -> None:
        """Keep a piece until the one before it comes; when there are too many, those of the execution that waits longest go."""
        self._waiting.setdefault(chunk.execution_id, {})[chunk.offset] = chunk
        while sum(len(piece.data) for pieces in self._waiting.values() for piece in pieces.values()) > WAITING_BYTES:
            del self._waiting[next(iter(self._waiting))]

    def _next_waiting(self, execution_id: str, offset: int) -> LogChunk | None:
        """Take the first waiting piece of an execution that reaches beyond `offset`, or ends the log; drop those before it."""
        pieces = self._waiting.get(execution_id, {})
        for start in sorted(pieces):
            piece = pieces.pop(start)
            if start + len(piece.data) > offset or piece.last:
                return piece
        self._waiting.pop(execution_id, None)
        return None


class LogReader:
    """Reads logs below the archive's folder, whole or while they grow; knows nothing of Redis."""

    def __init__(self, folder: Path) -> None:
        """Read below `folder`."""
        self.folder = folder

    def size(self, path: PurePosixPath) -> int:
        """Return how many bytes of the log are archived; 0 when it has not begun."""
        try:
            return (self.folder / path).stat().st_size
        except FileNotFoundError:
            return 0

    def is_whole(self, path: PurePosixPath) -> bool:
        """Tell whether the end of the log is archived too."""
        try:
            return not stat.S_IMODE((self.folder / path).stat().st_mode) & stat.S_IWUSR
        except FileNotFoundError:
            return False

    def read(self, path: PurePosixPath, offset: int = 0, limit: int = 1 << 16) -> bytes:
        """Return up to `limit` bytes from `offset` on; a negative offset counts from the end. Empty when there are none."""
        try:
            with (self.folder / path).open("rb") as file:
                file.seek(max(self.size(path) + offset, 0) if offset < 0 else offset)
                return file.read(limit)
        except FileNotFoundError:
            return b""

    def times(self, path: PurePosixPath, otherwise: datetime | None = None) -> LogTimes:
        """Return when the parts of a log came; `otherwise` is for one that came in one piece."""
        return LogTimes(self.folder / path, otherwise)

    def follow(self, path: PurePosixPath, is_finished: Callable[[], bool], *, offset: int = 0, patience: float = PATIENCE) -> Iterator[bytes]:
        """Yield the log from `offset` on as it grows, until the try `is_finished` and all of its log is archived.

        The end of a log may never come, when its machine is gone: then it ends `patience` seconds after the last byte.
        """
        quiet_since, is_over, lock = clock.monotonic(), False, -1
        try:
            while True:
                lock = self._locked(path) if lock < 0 else lock
                data = self.read(path, offset)
                if data:
                    offset += len(data)
                    quiet_since, is_over = clock.monotonic(), False
                    yield data
                elif is_over:
                    return
                else:
                    # Asked before the last look at the file: what came in between is still read.
                    is_over = is_finished() and (self.is_whole(path) or clock.monotonic() - quiet_since > patience)
                    if not is_over:
                        clock.sleep(EVERY)
        finally:
            if lock >= 0:
                os.close(lock)

    def _locked(self, path: PurePosixPath) -> int:
        """Return a descriptor of the log that keeps it from being removed; -1 when there is none yet."""
        try:
            descriptor = os.open(self.folder / path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return -1
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        return descriptor


def _open(target: Path) -> int:
    """Open and lock the log for reading and writing; make it, and its folders, where they are not."""
    while True:
        descriptor = _opened_or_made(target)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if os.fstat(descriptor).st_nlink:
            return descriptor
        # It was removed for its age just now.
        os.close(descriptor)


def _opened_or_made(target: Path) -> int:
    """Open the log, or make it. A whole one stays so until something is added."""
    try:
        return _opened(target)
    except FileNotFoundError:
        _make_folder(str(target.parent))
        return _opened(target)
    except PermissionError:
        target.chmod(GROWING)
        descriptor = _opened(target)
        os.fchmod(descriptor, WHOLE)
        return descriptor


def _made(target: str) -> int:
    """Make a log, and its folders; raises FileExistsError when it is there."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(target, flags, GROWING)
    except FileNotFoundError:
        _make_folder(os.path.dirname(target))  # noqa: PTH120 - a Path costs more than the folder
        return os.open(target, flags, GROWING)


def _make_folder(folder: str) -> None:
    """Make a folder, most often in one that is there, all with the same mode."""
    try:
        _mkdir(folder)
    except FileNotFoundError:
        _make_folder(os.path.dirname(folder))  # noqa: PTH120 - as above
        _mkdir(folder)


def _mkdir(folder: str) -> None:
    try:
        os.mkdir(folder, FOLDER)  # noqa: PTH102 - as above
    except FileExistsError:
        # Or something that is no folder: whoever opens the log is told.
        return


def _opened(target: Path) -> int:
    return os.open(target, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, GROWING)


def _mode(descriptor: int) -> int:
    return stat.S_IMODE(os.fstat(descriptor).st_mode)


def _append(descriptor: int, data: bytes, size: int) -> None:
    """Write `data` behind the `size` bytes that the file has."""
    if _mode(descriptor) != GROWING:
        os.fchmod(descriptor, GROWING)
    _write_all(descriptor, data, size)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
