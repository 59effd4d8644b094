"""Where Python children under other accounts ask: a socket of their worker, which passes questions on to the hub.

So no account learns how Redis is reached, nor the hub's key. A child shows a token that its worker made for its execution, account and log; the
kernel says whose process it is; and only what the worker still holds is heard. It may ask what any child may ask (dag/asking.py), and note a secret
that its log must not show (confided.py). The child in turn sees by the kernel that it speaks to its worker's account and to nobody else.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from typing import Any

import redis

from rqflow import clock, logs
from rqflow.broker import requests
from rqflow.dag.asking import STORE_VARIABLE
from rqflow.exceptions import BrokerError, NotPermitted, RqflowError
from rqflow.security.entries import resealed
from rqflow.security.keyring import Keyring
from rqflow.worker import confided
from rqflow.worker.workdir import WorkDir

logger = logging.getLogger(__name__)

#: In the work_dir: the key by which tokens are made, and copies of Variables and Connections are sealed, for this worker and those that follow it.
KEY_FILE = "accounts.key"
ASK, NOTE = "ask", "note"
#: Bytes of a question, those that may be under way, and seconds within which one must be said, or an answer heard.
MOST, AT_ONCE, PATIENCE = 1 << 20, 32, 30.0
_AGAIN = 0.2


class Desk:
    """The desk of one worker. It listens from the first account on that it is told about, or from the start where there was one before."""

    def __init__(self, work_dir: WorkDir, connections: Callable[[], redis.Redis], keyring: Keyring, holds: Callable[[str], bool]) -> None:
        """Pass questions on by one of `connections`, sealed anew with `keyring`, for executions that this worker `holds`."""
        self._connections, self._keyring, self._holds = connections, keyring, holds
        self._file = work_dir.path / KEY_FILE
        self._own = Keyring((), file=self._file)
        self._name = f"\0rqflow-{hashlib.sha256(os.fsencode(work_dir.path)).hexdigest()[:32]}"
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()
        self._places = threading.Semaphore(AT_ONCE)

    @property
    def own(self) -> Keyring:
        """The key that seals what accounts are handed, made when it is needed first; raises ConfigError."""
        self._own.ensure()
        return self._own

    def open_again(self) -> None:
        """Listen at once, where tasks of a worker before this one may ask."""
        if self._file.exists():
            self._open()

    def told(self, execution: str, uid: int, log: str) -> dict[str, Any]:
        """Return what a child is told of this desk (worker/asking.py). Raises OSError, ConfigError."""
        self._open()
        return {"desk": self._name[1:], "uid": os.geteuid(), "execution": execution, "log": log, "token": self._token(execution, uid, log)}

    def close(self) -> None:
        """Hear nobody any more."""
        if self._listener:
            self._listener.close()

    def _open(self) -> None:
        with self._lock:
            if self._listener is None:
                listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                listener.bind(self._name)
                listener.listen(AT_ONCE)
                self._listener = listener
                threading.Thread(target=self._listen, args=(listener,), name="desk", daemon=True).start()

    def _listen(self, listener: socket.socket) -> None:
        while True:
            self._places.acquire()
            try:
                link, _ = listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(link,), name="desk", daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        try:
            with link:
                link.settimeout(PATIENCE)
                answer = self._answer(uid_of(link), json.loads(_line(link)))
                link.sendall(json.dumps(answer).encode() + b"\n")
        except (OSError, ValueError) as error:
            logger.debug("a child hung up: %s", error, extra=logs.context("desk_hung_up"))
        finally:
            self._places.release()

    def _answer(self, uid: int, asked: Mapping[str, Any]) -> dict[str, Any]:
        try:
            execution, log = str(asked["execution"]), str(asked["log"])
            if not hmac.compare_digest(str(asked["token"]), self._token(execution, uid, log)) or not self._holds(execution):
                raise NotPermitted("this worker holds no such execution of this account")
            if asked["do"] == NOTE:
                said = asked["said"]
                entry = resealed(self.own, self._keyring, str(said["kind"]), str(said["name"]), dict(said["entry"]))
                confided.note_entry(confided.file_of(log), str(said["kind"]), str(said["name"]), entry)
                return {"answer": {}}
            return {"answer": requests.ask(self._connections(), str(asked["kind"]), self._resealed(str(asked["kind"]), asked["payload"]))}
        except BrokerError as error:
            return {"error": error.message, "hint": error.hint, "is_away": True}
        except RqflowError as error:
            return {"error": error.message, "hint": error.hint}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return {"error": f"this is no question: {error!r}", "hint": ""}

    def _resealed(self, kind: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what is asked with a secret sealed as the hub opens it."""
        if kind != STORE_VARIABLE or payload.get("secret_key") not in self.own.keys:
            return payload
        key, sealed = self._keyring.seal(self.own.open(str(payload["secret_key"]), str(payload["value"]), "what is to be stored"))
        return {**payload, "secret_key": key, "value": sealed}

    def _token(self, execution: str, uid: int, log: str) -> str:
        key = next(iter(self.own.keys.values()))
        return hmac.new(key.encode(), f"{execution}\0{uid}\0{log}".encode(), hashlib.sha256).hexdigest()


def ask(hub: Mapping[str, Any], **asked: Any) -> dict[str, Any]:
    """Ask the desk that a child was told of, which is waited for as long as its worker is away, but not for ever.

    Raises BrokerError when it stays away or goes away meanwhile, or the hub is away; RqflowError with its words.
    """
    with _connected(str(hub["desk"])) as link:
        if uid_of(link) != hub["uid"]:
            raise NotPermitted("somebody else answers in place of this task's worker")
        try:
            link.sendall(json.dumps({**{name: hub[name] for name in ("execution", "log", "token")}, **asked}).encode() + b"\n")
            told = json.loads(_line(link))
        except (OSError, ValueError) as error:
            # Not asked again here: it may have reached the hub.
            raise BrokerError(f"the worker of this task went away: {error}", hint="Is it running? What it holds goes on.") from error
    if "error" in told:
        raise (BrokerError if told.get("is_away") else RqflowError)(told["error"], hint=told.get("hint", ""))
    return dict(told["answer"])


def _connected(name: str) -> socket.socket:
    deadline = clock.monotonic() + PATIENCE
    while True:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.settimeout(2 * PATIENCE)
        try:
            link.connect("\0" + name)
        except OSError as error:
            link.close()
            if clock.monotonic() > deadline:
                raise BrokerError("the worker of this task does not answer", hint="Is it running? What it holds goes on.") from error
            clock.sleep(_AGAIN)
        else:
            return link


def uid_of(link: socket.socket) -> int:
    """Return under which account the other side of a unix socket runs, or did when it connected, or began to listen."""
    credentials = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def _line(link: socket.socket) -> bytes:
    data = bytearray()
    while not data.endswith(b"\n"):
        piece = link.recv(1 << 16)
        if not piece:
            raise ValueError("the other side hung up")
        data += piece
        if len(data) > MOST:
            raise ValueError("it is too long")
    return bytes(data)
