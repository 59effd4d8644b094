"""How the shepherd starts the process of a task: by posix_spawn, or, when something must be done in it first, by fork.

Only the standard library and rqflow's base are imported here: the shepherd uses this module.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from rqflow.wire import decode, encode
from rqflow.worker import processes
from rqflow.worker.attending import attend
from rqflow.worker.confinement import Confinement
from rqflow.worker.shepherd_protocol import Start

#: Signals that a task must have at their defaults, because this process, or its Python, ignores them.
_DEFAULT_SIGNALS = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1]
#: Where programs were found, by (name, PATH).
_found: dict[tuple[str, str], str] = {}
_GO = b"g"
#: With what a process ends that did not become the task's.
_NOT_STARTED = 127


def spawn(request: Start, base: Mapping[str, str], umask: int, null: int) -> int:
    """Start a process in a session of its own, input from `null`, output and errors to the log; return its pid.

    Raises OSError with the reason when the log cannot be written, the folder or the program is not there, or it is too large.
    """
    wanted = int(request.umask, 8) if request.umask else umask
    log = open_log(request)
    old = os.umask(wanted)
    try:
        os.chdir(request.cwd)
        environment = environment_of(request, base)
        dup = [(os.POSIX_SPAWN_DUP2, source, target) for source, target in ((null, 0), (log, 1), (log, 2))]
        program = _find(request.argv[0], environment.get("PATH", os.defpath))
        return os.posix_spawn(program, request.argv, environment, file_actions=dup, setsid=True, setsigmask=(), setsigdef=_DEFAULT_SIGNALS)
    finally:
        os.chdir("/")
        os.umask(old)
        os.close(log)


@dataclass(slots=True)
class Unborn:
    """A process that was forked for a task and waits until it is let go. When its shepherd dies before, it ends, and the task has never run."""

    pid: int
    _request: Start
    _leave: int
    _told: int

    def let_go(self) -> None:
        """Let it become the task: its start is written down."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._leave, _GO)
        os.close(self._leave)

    def error(self) -> str:
        """Return why it did not become the task, once it has ended; empty when it did, or was ended before. To be called once."""
        with open(self._told, "rb") as told:
            text = told.read()
        return reason(OSError(*decode(text)), self._request) if text else ""


def fork(request: Start, confinement: Confinement, base: Mapping[str, str], umask: int, null: int) -> Unborn:
    """Fork a process that becomes the task when it is let go; raises OSError when the log cannot be written or there is no process to be had."""
    wanted = int(request.umask, 8) if request.umask else umask
    log = open_log(request)
    environment = environment_of(request, base)
    given = os.open(request.parcel, os.O_RDONLY | os.O_CLOEXEC) if request.parcel else null
    may_go, leave = os.pipe2(os.O_CLOEXEC)
    told, tell = os.pipe2(os.O_CLOEXEC)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _DEFAULT_SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            os.close(leave)
            _become(request, confinement, environment, wanted, (given, log, log), may_go, tell)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for descriptor in (may_go, tell, log, *((given,) if request.parcel else ())):
            os.close(descriptor)
    return Unborn(pid, request, leave, told)


def _become(request: Start, confinement: Confinement, environment: Mapping[str, str], umask: int, standard: tuple[int, int, int], may_go: int,
            tell: int) -> NoReturn:
    """In the new process: wait for leave, and become the task; or tell why not."""
    try:
        signal.set_wakeup_fd(-1)
        for number in _DEFAULT_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.setsid()
        if os.read(may_go, 1) != _GO:
            os._exit(_NOT_STARTED)
        if "errand" in (request.account or {}):
            # Outside the limits, which are the task's.
            sudo = os.fork()
            if sudo:
                attend(sudo)
        confinement.enter()
        os.umask(umask)
        os.chdir(request.cwd)
        for target, source in enumerate(standard):
            os.dup2(source, target)
        os.execve(_find(request.argv[0], environment.get("PATH", os.defpath)), request.argv, environment)  # noqa: S606 (no shell is wanted)
    except OSError as error:
        os.write(tell, encode([error.errno, error.strerror, error.filename]))
    except BaseException as error:  # noqa: BLE001 (this process must not go on as a second shepherd)
        os.write(tell, encode([0, f"{type(error).__name__}: {error}", None]))
    finally:
        os._exit(_NOT_STARTED)


def send_errand(command: tuple[str, ...] | list[str], parcel: Mapping[str, Any]) -> None:
    """Have something done under another account (account_child.py), and do not wait for it; raises OSError."""
    given, null = os.memfd_create("errand", os.MFD_CLOEXEC), os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(given, encode(dict(parcel)))
        os.lseek(given, 0, os.SEEK_SET)
        dup = [(os.POSIX_SPAWN_DUP2, source, target) for source, target in ((given, 0), (null, 1), (null, 2))]
        os.posix_spawn(command[0], command, {"PATH": os.defpath}, file_actions=dup, setsid=True, setsigmask=(), setsigdef=_DEFAULT_SIGNALS)
    finally:
        os.close(given)
        os.close(null)


def open_log(request: Start) -> int:
    """Open the log of a task for output; raises OSError."""
    return os.open(request.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def environment_of(request: Start, base: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of a process: what it inherits of `base`, its own, and the mark by which all that it starts is known."""
    return {**(base if request.inherit else {}), **request.env, processes.MARKER: request.id}


def reason(error: OSError | ValueError, request: Start) -> str:
    """Say why a process could not be started."""
    if isinstance(error, OSError) and error.errno == errno.E2BIG:
        return "its command and its environment are too large for the kernel; put the command into a file"
    if isinstance(error, OSError) and error.errno == errno.ENOENT and not Path(request.cwd).is_dir():
        return f"its folder {request.cwd} does not exist"
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename or request.argv[0]}"
    return str(error)


def _find(program: str, path: str) -> str:
    """Return where `program` is on the task's own PATH; posix_spawnp would look on the shepherd's."""
    if "/" in program:
        return program
    found = _found.get((program, path), "")
    if not found or not os.access(found, os.X_OK):
        names = (f"{folder or '.'}/{program}" for folder in path.split(":"))
        found = next((name for name in names if os.access(name, os.X_OK)), "")
        if found.startswith("/"):
            _found[program, path] = found
    return found or program
