"""The folder of a worker on its machine's own disk: who holds it, the folders of tries, the unpacked sources of DAG versions.

A try's folder has a folder to work in, and what a Python child is given and leaves. The log lies elsewhere, because it stays until the hub
has it. Folders and logs are numbered and used again: to make and remove them for each of many short tasks would cost more than to run the
tasks (ext4 looks at each inode that was freed in the last minutes before it gives out a new one).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import stat
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rqflow import clock
from rqflow.dag import unpacking
from rqflow.dag.version import Version
from rqflow.exceptions import ConfigError, Conflict
from rqflow.worker import program
from rqflow.worker.confided import SECRETS

CWD, NAMES, SPOOL = "cwd", "names", "spool"
#: In a try's folder: a link to the unpacked version that it uses, which may not be removed as long as the link is there.
USES = "version"
#: Folders: copies of rqflow, virtual environments that tasks wanted, the copy of Variables and Connections, calls of authors' functions.
PROGRAM, VENVS, OUTSIDE, CALLBACKS = "program", "venvs", "outside", "callbacks"
#: Empty logs that are kept to be used again.
_SPARE_LOGS = 1000
#: Seconds for which an unpacked version is kept after its last use, and between two looks for such.
KEEP_VERSION, _LOOK_EVERY = 3600.0, 60.0


@dataclass(frozen=True, slots=True)
class Former:
    """A worker that used this work_dir before, of which the broker may still hold claims."""

    name: str
    is_of_another_boot: bool


class WorkDir:
    """A work_dir; it may be used by one worker at a time."""

    def __init__(self, path: Path) -> None:
        """Name the folder; nothing is made yet."""
        self.path = path.absolute()
        self.tries = self.path / "tries"
        self.logs = self.path / "logs"
        self.versions = self.path / "versions"
        #: The folder of the rqflow package from which processes are started.
        self.program = program.INSTALLED
        self._free_logs: list[str] = []
        self._last_log = 0
        self._lock = -1
        self._free: list[Path] = []
        self._last = 0
        self._look_at = clock.monotonic() + _LOOK_EVERY

    @property
    def digest(self) -> str:
        """Six hex digits that name this folder on its machine."""
        return hashlib.sha256(os.fsencode(self.path)).hexdigest()[:6]

    def hold(self) -> None:
        """Make the folder and hold it until `release`.

        Raises Conflict when another worker does, ConfigError when it cannot be written.
        """
        try:
            self.make()
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            hint = "Set worker.work_dir to a folder of your own on a local disk."
            raise ConfigError(f"the work_dir {self.path} cannot be used: {error.strerror}", hint=hint) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.release()
            raise Conflict(
                f"another worker uses the work_dir {self.path}", hint="One worker serves many slots (-n); a second one needs a --workdir of its own.",
            ) from error

    def make(self) -> None:
        """Make the folder and those in it; raises OSError."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (self.tries, self.logs, self.versions):
            folder.mkdir(exist_ok=True, mode=0o700)

    def release(self) -> None:
        """Let another worker have it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def keep_program(self) -> None:
        """Start processes from a copy of rqflow from now on, so that its files may be replaced."""
        self.program = program.keep(self.path / PROGRAM)

    def add_name(self, name: str, boot: str) -> list[Former]:
        """Write down who uses the folder now, in this boot of the machine; return who did before and was not followed yet, oldest first."""
        path = self.path / NAMES
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        with path.open("a", encoding="utf-8") as stream:
            stream.write(f"{name} {boot}\n")
        return [Former(former, its_boot != boot) for former, _, its_boot in (line.partition(" ") for line in lines)]

    def forget_name(self, name: str) -> None:
        """Drop a former user: its claims are the present one's now."""
        path = self.path / NAMES
        kept = [line for line in path.read_text(encoding="utf-8").splitlines() if line.partition(" ")[0] != name]
        fresh = path.with_suffix(".new")
        fresh.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        fresh.replace(path)

    def sweep(self, used: Iterable[Path], logs: Iterable[str]) -> None:
        """Remove the folders of tries that are not `used` any more, and logs that are not among `logs`.

        Sources, and old copies of rqflow, go when nothing is in use.

        New folders are counted on from what stays: that too which we may not remove, such as files that a container wrote as root.
        """
        kept = {path.name for path in used}
        if not kept:
            shutil.rmtree(self.versions, ignore_errors=True)
            self.versions.mkdir(exist_ok=True, mode=0o700)
            program.remove_others(self.path / PROGRAM, self.program)
        for entry in os.scandir(self.tries):
            if entry.name not in kept:
                shutil.rmtree(entry.path, ignore_errors=True)
        wanted = set(logs)
        for entry in os.scandir(self.logs):
            if entry.path not in wanted and entry.path.removesuffix(SECRETS) not in wanted:
                _remove(entry.path)
        self._last_log = max((int(path.stem) for path in self.logs.iterdir() if path.stem.isdecimal()), default=0)
        self._last = max((int(path.name) for path in self.tries.iterdir() if path.name.isdecimal()), default=0)
        self._free.clear()
        self._free_logs.clear()

    def take(self) -> Path:
        """Return an empty folder for a try; raises OSError when there is no room."""
        if clock.monotonic() >= self._look_at:
            self._look_at = clock.monotonic() + _LOOK_EVERY
            self.sweep_versions()
        if self._free:
            return self._free.pop()
        self._last += 1
        folder = self.tries / str(self._last)
        folder.mkdir(mode=0o700)
        (folder / CWD).mkdir(mode=0o700)
        return folder

    def take_log(self) -> str:
        """Return the path for the log of a try; the file is empty, or is not there."""
        if self._free_logs:
            return self._free_logs.pop()
        self._last_log += 1
        return f"{self.logs}/{self._last_log}.log"

    def give_back_log(self, path: str) -> None:
        """Let another try have a log's file, unless a process that a task left behind still writes into it; else remove it."""
        _remove(path + SECRETS)
        if len(self._free_logs) < _SPARE_LOGS and _is_emptied(path):
            self._free_logs.append(path)
        else:
            _remove(path)

    def give_back(self, folder: Path, *, reuse: bool) -> None:
        """Let another try have the folder, when it is as it was made; else remove it, in the background.

        `reuse` False says that something was written beside the task's own folder, or that somebody is still in there.
        """
        if reuse and _is_as_new(f"{folder}/{CWD}"):
            self._free.append(folder)
        else:
            threading.Thread(target=shutil.rmtree, args=(folder,), kwargs={"ignore_errors": True}, name="sweep", daemon=True).start()

    def sweep_versions(self, keep: float = KEEP_VERSION) -> None:
        """Remove, in the background, unpacked versions that no try uses and that were last asked for more than `keep` seconds ago."""
        used = {os.readlink(link) for entry in os.scandir(self.tries) if os.path.islink(link := f"{entry.path}/{USES}")}  # noqa: PTH114, PTH115
        before = clock.timestamp() - keep
        for entry in list(os.scandir(self.versions)):
            with contextlib.suppress(OSError):
                if entry.path not in used and entry.stat().st_mtime < before:
                    gone = self.versions / f"{entry.name}.gone"
                    Path(entry.path).rename(gone)
                    threading.Thread(target=shutil.rmtree, args=(gone,), kwargs={"ignore_errors": True}, name="sweep", daemon=True).start()

    def unpack(self, version: Version, user: Path | None = None) -> Path:
        """Return the folder in which `version` is unpacked, made when it is not there; safe with several at once.

        It stays at least as long as the folder `user` of a try.
        """
        folder = self.versions / version.sha
        if user is not None:
            with contextlib.suppress(FileExistsError):
                (user / USES).symlink_to(folder)
        if not folder.exists():
            fresh = self.versions / f"{version.sha}.{os.getpid()}.{threading.get_ident()}"
            shutil.rmtree(fresh, ignore_errors=True)
            unpacking.unpack(version, fresh)
            try:
                fresh.rename(folder)
            except OSError:
                # Somebody else was faster.
                shutil.rmtree(fresh, ignore_errors=True)
                if not folder.exists():
                    raise
        os.utime(folder)
        return folder


def _is_as_new(cwd: str) -> bool:
    """Tell whether a folder for a task to work in is empty and has its mode of old."""
    try:
        descriptor = os.open(cwd, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        with os.scandir(descriptor) as entries:
            return not any(entries) and stat.S_IMODE(os.fstat(descriptor).st_mode) == 0o700
    finally:
        os.close(descriptor)


def _is_emptied(path: str) -> bool:
    """Empty a file that nobody else has open; False when somebody has, or nobody can tell.

    The kernel gives a write lease only to the one that has a file open (fcntl(2)). Whoever opens it in the same moment makes the kernel send
    us a signal: one that is ignored by default.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        os.ftruncate(descriptor, 0)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _remove(path: str) -> None:
    """Remove a file, if it is there."""
    with contextlib.suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - making a Path takes longer than the call
