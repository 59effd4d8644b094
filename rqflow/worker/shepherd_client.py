"""The worker's side of the shepherd: finds or starts the one of a work_dir, sends it requests, hands back ends."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from rqflow import clock, logs
from rqflow.exceptions import RqflowError
from rqflow.worker.program import INSTALLED
from rqflow.worker.shepherd_protocol import (
    HAS_ACCOUNTS,
    HAS_LIMITS,
    HAS_SLOTS,
    LOG,
    PROTOCOL,
    Ended,
    Lines,
    Running,
    Start,
    connect,
    from_plain,
    pack,
)

logger = logging.getLogger(__name__)

_START_SECONDS = 20.0
_LAUNCH_AGAIN_SECONDS = 1.0
_ANSWER_SECONDS = 10.0
#: Seconds for which a word that only tidies the journal may wait for another one.
_TIDY_SECONDS = 0.1


class ShepherdGone(RqflowError):
    """The shepherd does not answer any more; connecting again starts another one, which watches the old one's tasks."""


class ShepherdClient:
    """A connection to the shepherd of one work_dir. Requests are gathered and sent by `flush`, once a loop turn.

    What only tidies its journal is sent with the next request that changes something, or by itself a moment later: each message wakes
    the shepherd.
    """

    def __init__(self, folder: Path, *, env: Mapping[str, str], linger: float, role: str = "worker", program: Path = INSTALLED) -> None:
        """Keep where it is; `env`, `linger` and `program` are for a shepherd started here.

        `env` is its own environment; `linger` for how many seconds it outlives its last task and client; `program` the folder of the
        package that it is started from.
        """
        self._folder = folder
        self._env = env
        self._linger = linger
        self._role = role
        self._program = program
        self._socket: socket.socket | None = None
        self._lines = Lines()
        self._out = bytearray()
        self._accepted: list[str] = []
        self._forgotten: list[str] = []
        #: When there is something to be sent, by the monotonic clock.
        self.flush_at = math.inf
        self.pid = 0
        #: Whether starts may wait for a slot with it, have limits, and be under another account.
        self.has_slots = self.has_limits = self.has_accounts = False

    def connect(self) -> tuple[list[Running], list[Ended]]:
        """Meet the shepherd, starting one when there is none; return what runs and what ended and is not forgotten.

        Raises ShepherdGone when none can be started.
        """
        self.close()
        deadline, launch_at = clock.monotonic() + _START_SECONDS, clock.monotonic()
        while True:
            try:
                self._socket = connect(self._folder, _ANSWER_SECONDS)
                if self._socket:
                    return self._greet()
            except (ConnectionError, TimeoutError, ShepherdGone):
                self.close()
                logger.debug("the shepherd hung up; trying again", extra=logs.context("shepherd_retry"))
            if clock.monotonic() >= launch_at:
                # Again after a while: the one before may have met the lock of a shepherd that was just ending.
                self._launch()
                launch_at = clock.monotonic() + _LAUNCH_AGAIN_SECONDS
            if clock.monotonic() > deadline:
                raise ShepherdGone(f"the shepherd of {self._folder} does not start", hint=f"Its log is {self._folder / LOG}.")
            clock.sleep(0.01)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when there are ends."""
        return self._socket.fileno() if self._socket else -1

    def environment(self, env: Mapping[str, str], umask: int) -> None:
        """Set what every task inherits from now on."""
        self._ask(pack("environment", env=dict(env), umask=f"{umask:03o}"))

    def hold(self, path: Path) -> None:
        """Let the shepherd keep a shared lock on `path` as long as it lives."""
        self._ask(pack("hold", path=str(path)))

    def start(self, request: Start) -> None:
        """Ask for a process."""
        self._ask(pack("start", request))

    def kill(self, execution_id: str, reason: str, grace: float, number: int = signal.SIGTERM) -> None:
        """Ask for the end of a process and all that belongs to it: the signal of this number, and KILL after `grace` seconds."""
        self._ask(pack("kill", id=execution_id, reason=reason, grace=grace, signal=number))

    def fence(self, until: Mapping[str, float]) -> None:
        """Tell by when (CLOCK_BOOTTIME) these processes must be dead, unless told anew before."""
        self._ask(pack("fence", until=dict(until)))

    def accepted(self, ids: Iterable[str]) -> None:
        """Tell that the broker has taken these ends."""
        self._accepted += ids
        self._tidy_soon()

    def forget(self, ids: Iterable[str]) -> None:
        """Tell that nothing more is to be done for these executions."""
        self._forgotten += ids
        self._tidy_soon()

    def _ask(self, text: bytes) -> None:
        self._out += text
        self.flush_at = 0.0

    def _tidy_soon(self) -> None:
        self.flush_at = min(self.flush_at, clock.monotonic() + _TIDY_SECONDS)

    def flush(self, *, at_once: bool = False) -> None:
        """Send what was asked for if that is due, or `at_once`; raises ShepherdGone when it cannot be sent."""
        if clock.monotonic() < self.flush_at and not (at_once and self.flush_at < math.inf):
            return
        # What was let go of comes before what is started: that may have its folder and its log.
        accepted = pack("accepted", ids=self._accepted) if self._accepted else b""
        forgotten = pack("forget", ids=self._forgotten) if self._forgotten else b""
        try:
            self._connected().sendall(accepted + forgotten + self._out)
        except OSError as error:
            raise ShepherdGone(f"the shepherd of {self._folder} is gone: {error}") from error
        self._nothing_to_send()

    def _nothing_to_send(self) -> None:
        self._out, self._accepted, self._forgotten, self.flush_at = bytearray(), [], [], math.inf

    def receive(self) -> list[Ended]:
        """Return the ends that have arrived, without waiting for more than there is; raises ShepherdGone."""
        try:
            data = self._connected().recv(1 << 20, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except OSError as error:
            raise ShepherdGone(f"the shepherd of {self._folder} is gone: {error}") from error
        if not data:
            raise ShepherdGone(f"the shepherd of {self._folder} is gone")
        return [from_plain(Ended, message) for message in self._lines.feed(data) if message.get("op") == "ended"]

    def close(self) -> None:
        """Hang up; tasks go on."""
        if self._socket:
            self._socket.close()
        self._socket, self._lines = None, Lines()
        self._nothing_to_send()

    def _connected(self) -> socket.socket:
        if self._socket is None:
            raise ShepherdGone(f"the shepherd of {self._folder} is not connected")
        return self._socket

    def _greet(self) -> tuple[list[Running], list[Ended]]:
        connection = self._connected()
        connection.sendall(pack("hello", protocol=PROTOCOL, role=self._role))
        while True:
            data = connection.recv(1 << 20)
            if not data:
                raise ShepherdGone("the shepherd hung up")
            messages = list(self._lines.feed(data))
            for at, message in enumerate(messages):
                if message.get("op") == "hello":
                    self.pid, self.has_slots = message["pid"], message["protocol"] >= HAS_SLOTS
                    self.has_limits, self.has_accounts = message["protocol"] >= HAS_LIMITS, message["protocol"] >= HAS_ACCOUNTS
                    # From here on it is only read when there is something, and a shepherd that does not read is given up.
                    connection.settimeout(None)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(_ANSWER_SECONDS), 0))
                    # What ended while it answered stands behind the answer.
                    later = [from_plain(Ended, plain) for plain in messages[at + 1:] if plain.get("op") == "ended"]
                    over = {entry.id for entry in later}
                    running = [from_plain(Running, plain) for plain in message["running"] if plain["id"] not in over]
                    return running, [from_plain(Ended, plain) for plain in message["ended"]] + later

    def _launch(self) -> None:
        """Start a shepherd in a session of its own; what it says goes to a file in the work_dir."""
        environment = {**self._env, "PYTHONPATH": os.pathsep.join(filter(None, (str(self._program), self._env.get("PYTHONPATH"))))}
        command = [sys.executable, "-P", "-X", "utf8", "-m", "rqflow.worker.shepherd", str(self._folder), str(self._linger)]
        logger.info("starting a shepherd for %s", self._folder, extra=logs.context("shepherd_started"))
        with (self._folder / LOG).open("ab") as log:
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd="/", start_new_session=True, check=False)
