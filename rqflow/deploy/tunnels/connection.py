"""One process ssh: its start, what it says, its end; and waiting that a signal, or its end, cuts short."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rqflow import clock

#: So many of its last lines are kept; and seconds that it gets to end before it is killed.
_LINES, _PATIENCE = 200, 2.0


class Stop:
    """Whether all tunnels of this process are to end; whoever waits hears of it at once."""

    def __init__(self) -> None:
        """Nobody has asked for it yet."""
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.is_set = False

    def set(self, *_: object) -> None:
        """Let all end; may be called by a signal."""
        self.is_set = True
        os.eventfd_write(self._fd, 1)

    def fileno(self) -> int:
        """Return what can be read from when it is set, and for ever after."""
        return self._fd

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until it is set; tell whether it is."""
        select.select([self], [], [], seconds)
        return self.is_set


class Connection:
    """A running ssh, in a session of its own, so that Ctrl-C at a terminal does not end it before us."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        """Start it. Raises OSError when there is no such program."""
        self._process = subprocess.Popen(command, env=dict(environ), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                         cwd="/", start_new_session=True)
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)
        self._ends = os.pidfd_open(self._process.pid)
        self._said: deque[str] = deque(maxlen=_LINES)
        self._rest = b""
        self._is_open = True

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def lines(self) -> list[str]:
        """Return what it has said, its last lines."""
        self._hear()
        return [*self._said, *([self._rest.decode(errors="replace")] if self._rest else [])]

    def forget(self) -> None:
        """Drop what it has said so far."""
        self.lines()
        self._said.clear()
        self._rest = b""

    def wait(self, seconds: float, stop: Stop) -> bool:
        """Wait so long, or until it ends or `stop` is set; tell whether it runs and is to go on."""
        until = clock.monotonic() + seconds
        while self.code is None and not stop.is_set and (left := until - clock.monotonic()) > 0:
            ready: list[Any] = [self._ends, stop, *([self._process.stderr] if self._is_open else [])]
            select.select(ready, [], [], left)
            self._hear()
        return self.code is None and not stop.is_set

    def moved(self) -> int:
        """Return how many bytes it has read and written in its life, from and to everybody; 0 where nobody may know."""
        try:
            lines = Path(f"/proc/{self.pid}/io").read_text(encoding="ascii").splitlines()
        except OSError:
            return 0
        return sum(int(value) for key, _, value in (line.partition(": ") for line in lines) if key in {"rchar", "wchar"})

    def end(self) -> None:
        """End it, and what it started to come over other hosts."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE)
                break
        self._hear()
        assert self._process.stderr is not None
        self._process.stderr.close()
        os.close(self._ends)
        self._is_open = False

    def _hear(self) -> None:
        """Take in what it has said since."""
        assert self._process.stderr is not None
        while self._is_open:
            try:
                data = os.read(self._process.stderr.fileno(), 65536)
            except BlockingIOError:
                return
            if not data:
                self._is_open = False
                return
            *whole, self._rest = (self._rest + data).split(b"\n")
            self._said.extend(line.decode(errors="replace") for line in whole)
