"""What /proc tells of one process, and the name by which a process is known to others: whoever shares its machine can tell that it is gone.

Only the standard library is imported here: the shepherd uses this module.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

#: So many bytes of a command line are shown.
_SHOWN = 80
_GONE = frozenset("ZX")
_SEPARATOR = ":"


@dataclass(frozen=True, slots=True)
class Process:
    """A live process. `started` is in clock ticks since boot; with the pid it names the process for ever (within one boot)."""

    pid: int
    parent: int
    group: int
    session: int
    started: int
    name: str
    #: It waits for SIGCONT.
    is_stopped: bool = False

    def __str__(self) -> str:
        """Return what a person needs to find it: what it runs now, which is not what it was forked from."""
        return f"pid {self.pid} ({_command(self.pid) or self.name})"


def boot_id() -> str:
    """Return the id of this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def read(pid: int) -> Process | None:
    """Return the process `pid`, or None when there is none or it is only a zombie."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return None
    try:
        data = os.read(descriptor, 4096)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    head, _, rest = data.rpartition(b")")
    field = rest.decode("ascii").split()
    if not field or field[0] in _GONE:
        return None
    name = head.partition(b"(")[2].decode(errors="replace")
    return Process(pid, parent=int(field[1]), group=int(field[2]), session=int(field[3]), started=int(field[19]), name=name,
                   is_stopped=field[0] == "T")


def name_of_this() -> str:
    """Return a name for this process, another one each time: boot, namespace of pids, pid, when it started, and something random."""
    pid = os.getpid()
    me = read(pid)
    return _SEPARATOR.join([boot_id(), _namespace(), str(pid), str(me.started if me else 0), os.urandom(16).hex()])


def is_gone(name: str) -> bool:
    """Tell whether the process with this name is known to have ended.

    That of another machine, boot or container is not known here, nor is one whose name is none of ours.
    """
    boot, _, rest = name.partition(_SEPARATOR)
    namespace, _, rest = rest.partition(_SEPARATOR)
    pid, started = ([*rest.split(_SEPARATOR), ""])[:2]
    if not (pid.isdecimal() and started.isdecimal()) or (boot, namespace) != (boot_id(), _namespace()):
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        # Somebody else's, of whom /proc may say nothing.
        return False
    now = read(int(pid))
    return now is None or now.started != int(started)


def _namespace() -> str:
    """Return which namespace of pids this is: within it a pid means one process, in another container another one."""
    return str(os.stat("/proc/self/ns/pid").st_ino)  # noqa: PTH116 - a Path would follow the link by its text


def _command(pid: int) -> str:
    """Return the beginning of the command line of a process; empty for one that has none, or is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            data = stream.read(_SHOWN + 1)
    except OSError:
        return ""
    words = data[:_SHOWN].replace(b"\0", b" ").decode(errors="replace").split()
    return " ".join(words) + ("…" if len(data) > _SHOWN else "")
