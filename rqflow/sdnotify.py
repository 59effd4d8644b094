"""Telling systemd how this process is, by the protocol of sd_notify(3). Where no systemd asked for it, nothing is done."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass, field

from rqflow import clock
from rqflow.settings import environment

#: A sign of life is given when so much of systemd's patience is over.
_PART = 3
#: Seconds for which somebody who does not read what is sent is waited for.
PATIENCE = 1.0


@dataclass
class Notifier:
    """What is known of the systemd that started this process."""

    #: Its socket; empty: there is none.
    address: str = ""
    #: Seconds without a sign of life after which it ends this process; None: it does not.
    patience: float | None = None
    _told_at: float = field(default=0.0, init=False)

    @classmethod
    def of(cls, environ: dict[str, str], pid: int) -> Notifier:
        """Return that of a process with this environment."""
        micros = environ.get("WATCHDOG_USEC", "")
        is_for_us = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        return cls(environ.get("NOTIFY_SOCKET", ""), int(micros) / 1e6 if micros.isdecimal() and int(micros) and is_for_us else None)

    def tell(self, **states: str | int) -> None:
        """Send states, such as READY=1; a systemd that does not listen is nobody's trouble: after PATIENCE seconds it is not told."""
        if not self.address:
            return
        name = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        message = "\n".join(f"{key}={value}" for key, value in states.items())
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as own:
            own.settimeout(PATIENCE)
            own.sendto(message.encode(), name)

    def ready(self, status: str) -> None:
        """Say that this process works, or waits for what it needs, which `status` tells people."""
        self.tell(READY=1, STATUS=status)

    def reloading(self) -> None:
        """Say that it reads its settings anew, and will be ready again."""
        self.tell(RELOADING=1, MONOTONIC_USEC=int(clock.monotonic() * 1e6))

    def stopping(self) -> None:
        """Say that it ends."""
        self.tell(STOPPING=1)

    def alive(self) -> None:
        """Give a sign of life, not more often than needed."""
        if self.patience is not None and clock.monotonic() - self._told_at >= self.patience / _PART:
            self.tell(WATCHDOG=1)
            self._told_at = clock.monotonic()

    def sleep(self, seconds: float) -> None:
        """Sleep for so long, giving signs of life."""
        until = clock.monotonic() + seconds
        self.alive()
        clock.sleep(min(seconds, self.pause))
        while self.patience is not None and (left := until - clock.monotonic()) > 0:
            self.alive()
            clock.sleep(min(left, self.pause))

    @property
    def pause(self) -> float:
        """The longest that this process may wait for anything without a sign of life, in seconds."""
        return float("inf") if self.patience is None else self.patience / _PART


#: That of this process.
NOTIFIER = Notifier.of(environment(), os.getpid())
