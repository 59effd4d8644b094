"""Commands and services of rqflow as processes that are forked from one which has imported it: each takes a tenth of the processor that Python's start takes.

They are processes like any: with an environment, a working directory and streams of their own, on a machine of a network, and with an end by exit code or
signal. Only what the kernel says of their beginning (command line, environment) is that of the process which forks. What is about the start of the program
itself is tested by starting it (tests/e2e/test_submitting.py, test_up.py, test_upgrade.py and others).
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

#: Bytes of a request; the environment is the most of it.
MOST = 1 << 20
#: What has the `main` of commands.
COMMANDS = "rqflow.cli.main"
#: Modules of commands that are imported before.
IMPORTED = ("backfill", "dag", "hub", "logs", "pool", "queue", "run", "scheduler", "show", "starting", "submit", "task", "top", "tunnel", "user", "var", "why",
            "worker")


class Parent:
    """The process that forks."""

    def __init__(self) -> None:
        """Start it."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for one in (self._socket, theirs):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST)
        with theirs:
            self._process = subprocess.Popen([sys.executable, "-m", "tests.forked", str(theirs.fileno())], pass_fds=[theirs.fileno()],
                                             cwd=Path(__file__).parents[1], stdin=subprocess.DEVNULL)
        self._turn = threading.Lock()
        atexit.register(self.close)

    def start(self, words: Sequence[str], environ: Mapping[str, str], folder: Path, streams: Sequence[IO[bytes]],
              spaces: Sequence[Path] = (), *, module: str = COMMANDS, has_session: bool = False) -> tuple[int, socket.socket]:
        """Fork `main` of a module with these words, in these namespaces and, if so, a session of its own; return its pid, and a socket that tells how
        it ended.
        """
        told, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as opened, self._turn:
            files = [*streams, theirs, *(opened.enter_context(path.open("rb")) for path in spaces)]
            request = json.dumps({"words": list(words), "environ": dict(environ), "folder": str(folder), "module": module,
                                  "has_session": has_session}).encode()
            socket.send_fds(self._socket, [request], [one.fileno() for one in files])
            return int(self._socket.recv(32)), told

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.wait()


@cache
def parent() -> Parent:
    """The one of this process."""
    return Parent()


class Service:
    """A command that stays, with what tests use of subprocess.Popen."""

    def __init__(self, words: Sequence[str], *, environ: Mapping[str, str], folder: Path, output: IO[bytes], spaces: Sequence[Path] = (),
                 module: str = COMMANDS, has_session: bool = False) -> None:
        """Start it; all that it says goes to `output`."""
        self.args = list(words)
        self.returncode: int | None = None
        with open(os.devnull, "rb") as nothing:
            self.pid, self._told = parent().start(words, environ, folder, (nothing, output, output), spaces, module=module,
                                                   has_session=has_session)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; raises TimeoutExpired after so many seconds."""
        if self.returncode is None:
            self._told.settimeout(timeout)
            try:
                answer = self._told.recv(32)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            self._told.close()
            self.returncode = int(answer)
        return self.returncode

    def poll(self) -> int | None:
        """Return how it ended; None while it lives."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it lives."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile: who forked it waits for it, not we
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """End it by SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.send_signal(signal.SIGKILL)


def run(words: Sequence[str], *, environ: Mapping[str, str], folder: Path, stdin: str = "", timeout: float = 60,
        spaces: Sequence[Path] = ()) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as subprocess.run does; raises TimeoutExpired after having killed it."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        pid, told = parent().start(words, environ, folder, (given, out, err), spaces)
        with told:
            told.settimeout(timeout)
            try:
                answer = told.recv(32)
            except TimeoutError as error:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(list(words), timeout) from error
        for stream in (out, err):
            stream.seek(0)
        return subprocess.CompletedProcess(list(words), int(answer), out.read().decode(), err.read().decode())


def _serve(connection: socket.socket) -> None:
    """Fork for each request; a thread a child waits for its end and tells of it."""
    for name in ("main", *IMPORTED):
        importlib.import_module(f"rqflow.cli.{name}")
    gc.collect()
    gc.freeze()  # so that no child copies pages only to look for garbage in them
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, MOST, 8)
        if not request:
            return
        pid = os.fork()
        if pid == 0:
            connection.close()
            _become(json.loads(request), descriptors)
        *streams, told = descriptors[:4]
        for one in (*streams, *descriptors[4:]):
            os.close(one)
        connection.send(str(pid).encode())
        threading.Thread(target=_wait, args=(pid, told), daemon=True).start()


def _wait(pid: int, told: int) -> None:
    _, status = os.waitpid(pid, 0)
    os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
    os.close(told)


def _become(wanted: dict[str, object], descriptors: Sequence[int]) -> None:
    """Be the command; does not return."""
    *streams, told = descriptors[:4]
    os.close(told)
    for descriptor in descriptors[4:]:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(descriptor)
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    words, environ = wanted["words"], wanted["environ"]
    assert isinstance(words, list)
    assert isinstance(environ, dict)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(str(wanted["folder"]))
    if wanted["has_session"]:
        os.setsid()
    time.tzset()
    random.seed()
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "rb", closefd=False)), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "wb", closefd=False)), encoding="utf-8")
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(io.FileIO(2, "wb", closefd=False)), encoding="utf-8", errors="backslashreplace", line_buffering=True)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    module = str(wanted["module"])
    sys.argv = ["rqflow", *words]
    sys.orig_argv = [sys.executable, "-m", module, *words]
    code = 1
    try:
        code = importlib.import_module(module).main(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        threading._shutdown()  # type: ignore[attr-defined]  # as the interpreter does at its end
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as serving:
        _serve(serving)
