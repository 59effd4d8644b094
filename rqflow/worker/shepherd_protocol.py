"""What the worker and the shepherd say to each other, and where they meet.

One JSON object a line, both ways, over a unix stream socket in the work_dir. The side that connects says hello first. Old shepherds
meet new workers, so fields and operations are only ever added, unknown ones are ignored, and a missing one has its default.

To the shepherd:
    hello         protocol, role ("worker" is told of ends; anything else only asks)
    environment   env, umask: what every task inherits from now on
    hold          path: keep a shared lock on that file as long as the shepherd lives
    start         the fields of Start; since 2 with `slots`: it waits for one; since 3 with limits; since 4 under an account
    kill          id, reason, grace, signal: that one (TERM when absent), after `grace` seconds KILL (at once when it is 0); one that waits is late
    fence         until {id: CLOCK_BOOTTIME}: by then they must be dead, unless told of a later time before
    accepted      ids: the broker has taken these ends
    forget        ids: nothing more is to be done for these executions; their journal entries go
To the worker:
    hello         protocol, pid, running: [Running], ended: [Ended] (all that are not forgotten)
    ended         the fields of Ended but for memo: whoever is told of an end as it happens knows it from the start, or from hello
What waits for a slot belongs to the connection: it is never started once that is closed, or another worker says hello.

Only the standard library and rqflow's base are imported here: the shepherd uses this module.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

from rqflow.wire import decode, encode

PROTOCOL = 4
#: Since these a start may wait for a slot, have limits, and be under another account.
HAS_SLOTS, HAS_LIMITS, HAS_ACCOUNTS = 2, 3, 4
SOCKET, LOCK, JOURNAL, LOG = "shepherd.sock", "shepherd.lock", "shepherd.journal", "shepherd.log"
#: Reasons for a kill that the shepherd itself has.
TIMEOUT, LEFTOVER, FENCE = "timeout", "leftover", "fence"


@dataclass(kw_only=True, slots=True)
class Start:
    """One process to be started. Never changed; not frozen only because that takes longer to make than to send."""

    id: str
    argv: tuple[str, ...]
    log: str
    cwd: str
    env: Mapping[str, str] = field(default_factory=dict)
    #: False: the process gets only `env`.
    inherit: bool = True
    #: Octal digits; None: the worker's.
    umask: str | None = None
    #: Seconds after which it is killed; None: never.
    timeout: float | None = None
    #: CLOCK_BOOTTIME by which it must be dead, unless a later time is told before; None: never.
    fence: float | None = None
    #: Seconds between TERM and KILL.
    grace: float = 10.0
    #: Files to be renamed to `f.partial-TRY` when it fails.
    outputs: tuple[str, ...] = ()
    try_number: int = 1
    #: It waits until fewer than so many processes run; 0: it does not wait.
    slots: int = 0
    #: Seconds for which it waits at most; then it is told as late.
    patience: float = 0.0
    #: What it may use (confinement.py): bytes of memory, processors, niceness, open files; None: no limit.
    memory: int | None = None
    cpus: float | None = None
    nice: int | None = None
    nofile: int | None = None
    #: Under which account it is: {"uid", "gid", "groups"}, or, where sudo starts it, {"uid", "errand"}: what does errands there
    #: (account_child.py), such as signals, which the shepherd may not send. None: that of the shepherd.
    account: Mapping[str, Any] | None = None
    #: A file that it finds on its input.
    parcel: str = ""
    #: Text that the worker wants back with the end.
    memo: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """One process that runs now."""

    id: str
    pid: int
    memo: str = ""


@dataclass(kw_only=True, slots=True)
class Ended:
    """One process that has ended, or could not be started (`error` says why; pid is 0). Never changed."""

    id: str
    pid: int = 0
    #: As wait(2) gives it; None: not known, because another shepherd had started it.
    status: int | None = None
    #: Of the process and all children that it waited for. `rss` counts bytes and is never less than the shepherd's own.
    cpu: float = 0.0
    rss: int = 0
    #: CLOCK_BOOTTIME, and for the end also seconds since the epoch; `boot` names the boot they belong to.
    started: float = 0.0
    ended: float = 0.0
    at: float = 0.0
    boot: str = ""
    #: Why the shepherd killed it: "timeout", "leftover", "fence", or the reason that the worker gave; "" when it ended by itself.
    killed: str = ""
    #: The kernel killed something of it for want of memory: while it ran, and it died of SIGKILL that the shepherd did not send, or at its own limit.
    oom: bool = False
    #: What of its limits is not as it was asked for.
    notes: tuple[str, ...] = ()
    #: Processes that it left running on purpose, and processes that KILL did not end: "pid 12 (sleep)".
    left: tuple[str, ...] = ()
    survivors: tuple[str, ...] = ()
    #: New names of outputs that it left half-written.
    partial: tuple[str, ...] = ()
    error: str = ""
    #: Started by a shepherd that died; its exit code is unknown.
    lost: bool = False
    #: It was never started, for it had to wait too long, and no journal has it.
    late: bool = False
    #: The broker has taken this end already.
    accepted: bool = False
    memo: str = ""


Message = TypeVar("Message", Start, Running, Ended)


def pack(operation: str, message: Start | Running | Ended | None = None, /, **more: Any) -> bytes:
    """Return one line: the operation with the fields of `message` that differ from their defaults, and `more`."""
    return line({"op": operation, **more}, encode({} if message is None else to_plain(message)))


def line(head: Mapping[str, Any], body: bytes) -> bytes:
    """Return one line: the object of `body`, which is JSON already, with the fields of `head` before it."""
    return joined(encode(head), body)


def joined(head: bytes, body: bytes) -> bytes:
    """Return one line: the objects `head` and `body`, both JSON already, as one."""
    return body + b"\n" if head == b"{}" else head + b"\n" if body == b"{}" else head[:-1] + b"," + body[1:] + b"\n"


def to_plain(message: Start | Running | Ended) -> dict[str, Any]:
    """Return the fields of `message` that differ from their defaults."""
    defaults = _DEFAULTS[type(message)]
    values = _VALUES[type(message)](message)
    return {name: value for (name, default), value in zip(defaults.items(), values, strict=True) if value != default}


def from_plain(kind: type[Message], plain: Mapping[str, Any]) -> Message:
    """Return the message that `plain` holds; fields that this side does not know are dropped, lists become tuples."""
    known = _DEFAULTS[kind]
    arguments: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items() if name in known}
    return kind(**arguments)


class Lines:
    """Cuts a stream of bytes into lines."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Give the objects of the lines that `data` completes."""
        if b"\n" not in data:
            self._rest += data
            return
        *complete, rest = (bytes(self._rest) + data).split(b"\n")
        self._rest = bytearray(rest)
        for text in complete:
            yield decode(text)


@contextmanager
def meeting_place(folder: Path) -> Iterator[str]:
    """Give a name of the socket in `folder` short enough for the kernel's 107 bytes, however long the folder's own is."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


def connect(folder: Path, timeout: float) -> socket.socket | None:
    """Return a connection to the shepherd of the work_dir `folder`, or None when none listens there."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        with meeting_place(folder) as address:
            connection.connect(address)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    return connection


_DEFAULTS: dict[type, dict[str, Any]] = {
    kind: {f.name: f.default_factory() if callable(f.default_factory) else f.default for f in fields(kind)} for kind in (Start, Running, Ended)
}
_VALUES = {kind: attrgetter(*defaults) for kind, defaults in _DEFAULTS.items()}
