"""What a worker is called: its host and a short id, which a file of its home keeps over restarts and upgrades."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from rqflow.exceptions import ConfigError
from rqflow.worker.workdir import NAMES, WorkDir

#: In HOME: a line for each host that works there, with the id.
ID_FILE = "worker.id"
#: What an id may be: neither `.` nor `+`, which separate it from what stands beside it.
ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def name_of(home: Path, host: str, work_dir: WorkDir, own: Path) -> str:
    """Return what the worker of a work_dir is called over its restarts: HOST.ID, and HOST.ID+DIGEST where it is not the home's `own` one.

    Raises ConfigError for a file that says no id.
    """
    if work_dir.path == own.absolute():
        return f"{host}.{saved_id(home, host) or saved_id(home, host, given=_former_id(work_dir, host)) or work_dir.digest}"
    return f"{host}.{saved_id(home, host) or saved_id(home, host, given=secrets.token_hex(3)) or 'x'}+{work_dir.digest}"


def saved_id(home: Path, host: str, *, given: str = "") -> str:
    """Return the id of this home on this host, and keep `given` for it where it has none; empty when there is none, or no file can be written.

    Of several that are given at the same time all get the first. Raises ConfigError for a file that says none.
    """
    file = home / ID_FILE
    if given and not _read(file, host):
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError:
            return ""
        try:
            os.write(descriptor, f"{host} {given}\n".encode())
        finally:
            os.close(descriptor)
    return _read(file, host)


def _read(file: Path, host: str) -> str:
    try:
        lines = file.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        name, _, found = line.partition(" ")
        if name == host:
            if not ID.fullmatch(found):
                raise ConfigError(f"{file} says no id for {host}: {found!r}", hint="Small letters, digits, - and _; or remove that line.")
            return found
    return ""


def _former_id(work_dir: WorkDir, host: str) -> str:
    """Return what a release before this one called the work_dir, if it was used by one that is still to be followed, else something new."""
    try:
        lines = (work_dir.path / NAMES).read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    is_known = any(line.startswith(f"{host}.{work_dir.digest}.") for line in lines)
    return work_dir.digest if is_known else secrets.token_hex(3)
