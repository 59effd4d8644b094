"""Where the live state of this machine is: Redis, SQLite, sockets, folders of workers. It must be on a local disk (architecture section 11)."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from rqflow.deploy import home
from rqflow.exceptions import ConfigError, Conflict
from rqflow.settings import Settings

#: File systems that other machines see too: neither SQLite's WAL nor flock can be trusted on them.
NETWORK_TYPES = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse.ceph", "fuse.glusterfs", "fuse.gpfs", "fuse.s3fs", "fuse.sshfs", "glusterfs",
    "gpfs", "lustre", "ncpfs", "nfs", "nfs3", "nfs4", "orangefs", "panfs", "pvfs2", "smb3", "smbfs", "wekafs",
})
#: Longest path of a unix socket that Linux takes is 107 bytes; the longest name that we put into the folder has 20.
SOCKET_FOLDER_MAX = 85
VAR_TMP = Path("/var/tmp")  # noqa: S108 - survives a reboot, unlike /tmp; owner and mode of our folder in it are checked
#: A home counts as in use for this long after its last sign of life.
IN_USE_SECONDS = 60.0
OWNER_FILE = ".rqflow-in-use"


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What the rules must know of this machine; tests make their own."""

    host: str
    uid: int
    #: The text of /proc/self/mountinfo; empty where there is none.
    mountinfo: str
    var_tmp: Path = VAR_TMP
    run_user: Path = Path("/run/user")


def this_machine() -> Machine:
    """Describe the machine that this process runs on."""
    try:
        mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        mountinfo = ""
    return Machine(host=socket.gethostname(), uid=os.getuid(), mountinfo=mountinfo)


def filesystem_type(path: Path, mountinfo: str) -> str:
    """Return the type of the file system that holds the absolute `path`, by the text of /proc/self/mountinfo; "" when unknown.

    Of two mounts at one point the later one is on top.
    """
    best, kind = -1, ""
    for line in mountinfo.splitlines():
        left, separator, right = line.partition(" - ")
        columns = left.split(" ")
        if not separator or len(columns) < 5:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), columns[4]))
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), right.split(" ")[0]
    return kind


def is_network(path: Path, machine: Machine) -> bool:
    """Tell whether `path`, or its nearest parent that exists, is on a network file system."""
    return filesystem_type(_existing(path).resolve(), machine.mountinfo) in NETWORK_TYPES


def locate(settings: Settings, machine: Machine) -> Path:
    """Return the folder of this machine's live state; nothing is written.

    Raises ConfigError with the remedy when every candidate is on a network file system.
    """
    if settings.core.state_dir:
        chosen = settings.home / Path(settings.core.state_dir).expanduser()
        if is_network(chosen, machine):
            raise ConfigError(f"core.state_dir: {chosen} is on a network file system; live state must be on a local disk",
                              hint="Name a folder of a local disk, or leave core.state_dir empty.")
        return chosen / machine.host
    if not is_network(settings.home / "state", machine):
        return settings.home / "state" / machine.host
    fallback = _private(settings.home, machine)
    if is_network(fallback, machine):
        raise ConfigError(f"{settings.home} and {fallback} are both on network file systems; live state must be on a local disk",
                          hint="Name a folder of a local disk with core.state_dir in rqflow.cfg or RQFLOW__CORE__STATE_DIR.")
    return fallback / machine.host


def prepare(settings: Settings, machine: Machine) -> Path:
    """Make HOME, the folder of this machine's live state and that of its sockets, private to their owner; return the second.

    Raises ConfigError when one cannot be written or belongs to somebody else.
    """
    home.ensure(settings)
    state = locate(settings, machine)
    make_private(state, machine)
    make_private(socket_folder(state, machine), machine)
    return state


def socket_folder(state: Path, machine: Machine) -> Path:
    """Return the folder for unix sockets: `state`, or, when its path is too long, one below /run/user or /var/tmp; nothing is written."""
    if len(os.fsencode(state)) <= SOCKET_FOLDER_MAX:
        return state
    run_user = machine.run_user / str(machine.uid)
    if run_user.is_dir() and os.access(run_user, os.W_OK):
        return run_user / f"rqflow-{_digest(state)}"
    return _private(state, machine)


def claim_home(settings: Settings, machine: Machine) -> Path:
    """Note in HOME that this machine's embedded services use it, and return that file; deploy/keeper.py keeps it fresh.

    Raises Conflict naming the other machine when it has given a sign of life within the last minute.
    """
    path = settings.home / OWNER_FILE
    probe = settings.home / f"{OWNER_FILE}.{machine.host}.{os.getpid()}"
    probe.write_text(json.dumps({"host": machine.host, "uid": machine.uid, "pid": os.getpid()}), encoding="utf-8")
    try:
        owner, age = _owner(path, now=probe.stat().st_mtime)  # both times are of the file server's clock
        if owner and owner != machine.host and age < IN_USE_SECONDS:
            raise Conflict(f"{settings.home} is in use on {owner} (last sign of life {age:.0f} s ago)",
                           hint=f"Work there, or wait until it is idle. Is that machine gone for good? Remove {path}. "
                                "Several machines share one home only with a Redis and a database of their own: see redis.url and database.url.")
        probe.replace(path)
    finally:
        probe.unlink(missing_ok=True)
    return path


def _owner(path: Path, *, now: float) -> tuple[str, float]:
    """Return which host last claimed the home, and how many seconds ago it gave a sign of life."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["host"]), max(now - path.stat().st_mtime, 0.0)
    except (OSError, ValueError, KeyError):
        return "", 0.0


def _existing(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if p.exists())


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def _private(folder: Path, machine: Machine) -> Path:
    """Return /var/tmp/rqflow-UID/<hash of the path of `folder`>."""
    return machine.var_tmp / f"rqflow-{machine.uid}" / _digest(folder)


def make_private(folder: Path, machine: Machine) -> None:
    """Make `folder` with mode 0700; what lies below a folder that everybody may write must be ours. Raises ConfigError when that cannot be."""
    shared_root = machine.var_tmp / f"rqflow-{machine.uid}"
    try:
        if folder.is_relative_to(shared_root):
            shared_root.mkdir(mode=0o700, exist_ok=True)
            found = shared_root.lstat()
            if found.st_uid != machine.uid or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
                raise ConfigError(f"{shared_root} is not a private folder of uid {machine.uid}",
                                  hint="Somebody else made it: remove it, or name another folder with core.state_dir.")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise home.not_writable(folder, error) from error
