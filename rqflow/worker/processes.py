"""What /proc tells about the processes of tasks: who belongs to one, and whether a pid is still the process it was.

Only the standard library and rqflow's base are imported here: the shepherd uses this module.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable, Iterable

from rqflow.process import Process, read

#: The variable by which processes of a task are known, whatever session or parent they have.
MARKER = "RQFLOW_EXECUTION"
#: Clock ticks a second, the unit of `Process.started`.
TICKS = os.sysconf("SC_CLK_TCK")

KILL = signal.SIGKILL

_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 1, 15, 36


def is_same(pid: int, earliest: int, latest: int) -> bool:
    """Tell whether `pid` is alive and still the process that started between `earliest` and `latest`, in ticks."""
    process = read(pid)
    return process is not None and earliest <= process.started <= latest


def everything() -> list[Process]:
    """Return all live processes that this user can see."""
    found = (read(int(entry.name)) for entry in os.scandir("/proc") if entry.name.isdecimal())
    return [process for process in found if process is not None]


def group_is_alive(group: int) -> bool:
    """Tell whether the process group `group` has a member, be it a zombie."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def belonging(leader: int, *, marker: str, since: int, known: Iterable[tuple[int, int]] = ()) -> list[Process]:
    """Return the live processes of the task whose first process was `leader`, itself included.

    They are those of its session or group, those that carry `marker` in their environment, those that `known` names by (pid,
    started), and all descendants of these. Processes older than `since` (ticks) are left out, and so is this process.
    """
    processes = [p for p in everything() if p.started >= since and p.pid != os.getpid()]
    remembered = set(known)
    found = {p.pid: p for p in processes if leader in {p.pid, p.session, p.group} or (p.pid, p.started) in remembered or _is_marked(p, marker)}
    grew = True
    while grew:
        children = [p for p in processes if p.parent in found and p.pid not in found]
        found.update({p.pid: p for p in children})
        grew = bool(children)
    return sorted(found.values(), key=lambda p: p.started)


def marked(marker: str) -> list[Process]:
    """Return the live processes that carry `marker` in their environment."""
    return [process for process in everything() if _is_marked(process, marker)]


def leader_of(marker: str, *, since: int) -> int | None:
    """Return the pid of the first process of the task that carries `marker`, also when only what it left lives; None: nothing lives.

    It began the session that the oldest of them is in. Processes older than `since` (ticks) are left out.
    """
    left = [process for process in marked(marker) if process.started >= since]
    return min(left, key=lambda process: (process.started, process.pid)).session if left else None


def of_session(leader: int, *, since: int) -> list[Process]:
    """Return the live processes of the session or group that `leader` began, without those that made a session of their own."""
    return [p for p in everything() if p.started >= since and leader in {p.session, p.group}]


def send(processes: Iterable[Process], number: signal.Signals) -> None:
    """Send a signal to each of `processes` that is still there; one that we may not signal is passed over."""
    for process in processes:
        if is_same(process.pid, process.started, process.started):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, number)


def adopt_orphans() -> None:
    """Make this process the parent of all its descendants whose own parent dies, so that they stay visible."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent dies."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def signals_as_bytes(terminate: Callable[..., None]) -> int:
    """Turn SIGCHLD and SIGTERM, at which `terminate` is called, into readable bytes on the descriptor that is returned.

    What a terminal sends is ignored.
    """
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, terminate)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return reader


def set_name(name: str) -> None:
    """Set the name that `ps` and `top` show, 15 bytes of it."""
    _prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()))


def _prctl(option: int, argument: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, argument, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _is_marked(process: Process, marker: str) -> bool:
    try:
        descriptor = os.open(f"/proc/{process.pid}/environ", os.O_RDONLY)
    except OSError:
        return False
    wanted = f"{MARKER}={marker}".encode()
    try:
        with open(descriptor, "rb") as stream:
            return wanted in stream.read().split(b"\0")
    except OSError:
        return False
