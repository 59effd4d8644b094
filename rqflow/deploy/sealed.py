"""A tar archive that is whole or absent, and whose reader knows that each byte is as it was written.

It is written under another name, beside its place, and gets its name when all of it is on the disk. The last member, the manifest, has the
sha256 of all others: an archive without it, or with another content, is refused before anything of it is used.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from rqflow import clock
from rqflow.exceptions import Conflict, RqflowError, UsageError

MANIFEST = "manifest.json"
#: Bytes read at a time; the largest manifest that is believed.
CHUNK, MANIFEST_MAX = 1 << 20, 256 << 20
PRIVATE = 0o600


class NotWritten(RqflowError):
    """The archive could not be written, and nothing of it is left."""


class NotWhole(UsageError):
    """The file is no archive of ours, or is not as it was written."""


class Writer:
    """Writes members one after the other."""

    def __init__(self, tar: tarfile.TarFile, folder: Path) -> None:
        """Write into `tar`; what must be measured before it is written waits in a nameless file in `folder`."""
        self._tar, self._folder = tar, folder
        self.sums: dict[str, str] = {}

    def add(self, name: str, data: bytes) -> None:
        """Write a member of these bytes."""
        self.stream(name, io.BytesIO(data), len(data))

    def stream(self, name: str, source: IO[bytes], size: int, *, mode: int = PRIVATE, modified: float | None = None) -> None:
        """Write a member of the next `size` bytes of `source`. Raises OSError when it ends before that."""
        member = tarfile.TarInfo(name)
        member.size, member.mode, member.mtime = size, mode, int(clock.timestamp() if modified is None else modified)
        summed = _Summing(source)
        self._tar.addfile(member, summed)
        self.sums[name] = summed.sum.hexdigest()

    @contextmanager
    def member(self, name: str) -> Iterator[IO[bytes]]:
        """Give a file whose content at the end of the block becomes the member."""
        with tempfile.TemporaryFile(dir=self._folder) as waiting:
            yield waiting
            size = waiting.tell()
            waiting.seek(0)
            self.stream(name, waiting, size)


class _Summing:
    """Reads, and sums up what was read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.sum = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read as a file does."""
        data = self._source.read(size)
        self.sum.update(data)
        return data


@contextmanager
def writing(file: Path, *, replaces: bool = False) -> Iterator[tuple[Writer, dict[str, Any]]]:
    """Give what writes the archive `file`, mode 0600, and its manifest to be filled; the file appears at the end of the block.

    Raises Conflict for a file that is there and not to be replaced, UsageError for a folder that is not there, NotWritten for a full disk.
    """
    if not file.parent.is_dir():
        raise UsageError(f"{file.parent} is no folder")
    if file.exists() and not replaces:
        raise Conflict(f"{file} is there already", hint="Name another file, or add --force.")
    part: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", suffix=".part", delete=False) as raw:
            part = Path(raw.name)
            manifest: dict[str, Any] = {}
            with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=3, format=tarfile.PAX_FORMAT) as tar:
                writer = Writer(tar, file.parent)
                yield writer, manifest
                writer.add(MANIFEST, json.dumps(manifest | {"sha256": writer.sums}).encode())
            raw.flush()
            os.fsync(raw.fileno())
        part.rename(file)
        part = None
        _sync(file.parent)
    except OSError as error:
        where = f"{error.filename}: " if error.filename and str(error.filename) != str(part) else ""
        raise NotWritten(f"{file} was not written: {where}{error.strerror or error}",
                         hint="Nothing is left of it; make room, or name another folder.") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


class Reader:
    """An archive that was found whole."""

    def __init__(self, raw: IO[bytes], file: Path) -> None:
        """Read all of `raw`, which is the open `file`, and compare it with the manifest. Raises NotWhole."""
        self._raw, self._file = raw, file
        sums: dict[str, str] = {}
        manifest: Any = None
        for member, stream in self.members():
            if member.name == MANIFEST and member.size <= MANIFEST_MAX:
                manifest = json.loads(stream.read())
                continue
            digest = hashlib.sha256()
            while data := stream.read(CHUNK):
                digest.update(data)
            sums[member.name] = digest.hexdigest()
        if not isinstance(manifest, dict) or not isinstance(manifest.get("sha256"), dict):
            raise NotWhole(f"{file} ends too early, or is no backup of rqflow", hint="Was it copied to its end?")
        if wrong := sorted(name for name in sums.keys() | manifest["sha256"].keys() if sums.get(name) != manifest["sha256"].get(name)):
            raise NotWhole(f"{file} is not as it was written: {wrong[0]} differs", hint="Take another copy; nothing was changed.")
        self.manifest: dict[str, Any] = manifest

    def members(self, prefix: str = "") -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
        """Give all members whose names begin so, each to be read before the next one. Raises NotWhole, and tarfile's errors."""
        self._raw.seek(0)
        with tarfile.open(fileobj=self._raw, mode="r|gz") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                stream = tar.extractfile(member) if member.isreg() else None
                if stream is None or path.is_absolute() or ".." in path.parts:
                    raise NotWhole(f"{self._file} has {member.name!r}, which no backup of rqflow has")
                if member.name.startswith(prefix):
                    yield member, stream


@contextmanager
def reading(file: Path) -> Iterator[Reader]:
    """Open an archive, and see that it is whole. Raises NotWhole, or UsageError for a file that cannot be read."""
    try:
        raw = file.open("rb")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    with raw:
        try:
            found = Reader(raw, file)
        except (tarfile.TarError, EOFError, zlib.error, ValueError, gzip.BadGzipFile) as error:
            raise NotWhole(f"{file} is no backup of rqflow, or ends too early: {error}", hint="Was it copied to its end?") from error
        yield found


def place(path: Path, data: IO[bytes], *, mode: int = PRIVATE, modified: float | None = None) -> None:
    """Write a file whole or not at all, in the place of one that may be there. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name[:100]}.", delete=False) as fresh:
        try:
            while piece := data.read(CHUNK):
                fresh.write(piece)
            fresh.flush()
            os.fchmod(fresh.fileno(), mode)
            os.fsync(fresh.fileno())
            Path(fresh.name).rename(path)
        except BaseException:
            Path(fresh.name).unlink(missing_ok=True)
            raise
    if modified is not None:
        os.utime(path, (modified, modified))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
