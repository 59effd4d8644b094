"""Accounts of this machine that tests make and remove, and a Python that all of them may run."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.processes import matching, send
from tests.waiting import until

ROOT = Path(__file__).parents[1]
PACKAGES = [path for path in sys.path if path.endswith("site-packages")]
#: Which tests need this is said where they are skipped.
_NEEDED = ("useradd", "userdel", "groupadd", "groupdel")


@dataclass(frozen=True)
class Place:
    """Two accounts, `ann` in a group `lab`, and a folder that both may write."""

    ann: str
    bob: str
    lab: str
    #: Everybody may write here (mode 1777).
    shared: Path
    #: An interpreter that has what rqflow needs.
    python: str

    def uid(self, name: str) -> int:
        return pwd.getpwnam(name).pw_uid

    def processes(self, name: str, *, errands: bool = False) -> list[psutil.Process]:
        """The live processes of an account, `errands` also those that tidy up for a worker."""
        uid = self.uid(name)
        return matching(lambda process: process.uids().real == uid and process.status() != psutil.STATUS_ZOMBIE and (errands or not _is_errand(process)))


def _is_errand(process: psutil.Process) -> bool:
    return any(word.endswith("account_child.py") for word in process.cmdline())


def command(*argv: str) -> None:
    """Change the accounts of this machine; others may have them locked for a moment, or a process that was killed may still be there."""
    def done() -> bool:
        result = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert result.returncode == 0 or "lock" in result.stderr or "currently used" in result.stderr, result.stderr
        return result.returncode == 0

    until(done, what=f"{argv[0]} to have its turn")


def closed_folder() -> Path | None:
    """Return a folder with rqflow or what it needs below it that other accounts may not enter; None when they may enter all."""
    folders = (above for path in (ROOT, *map(Path, PACKAGES)) for above in (path, *path.parents))
    return next((folder for folder in folders if not folder.stat().st_mode & stat.S_IXOTH), None)


@contextmanager
def place() -> Iterator[Place]:
    """Make the accounts, and remove them with all that they have."""
    if os.geteuid():
        pytest.skip("only root can make accounts")
    if missing := [name for name in _NEEDED if not shutil.which(name)]:
        pytest.skip(f"there is no {missing[0]} here")
    if closed := closed_folder():
        pytest.skip(f"other accounts may not enter {closed}, in which rqflow or what it needs is installed")
    folder = Path(tempfile.mkdtemp(prefix="rqflow-accounts-"))
    folder.chmod(0o755)
    shared = folder / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    tag = f"{os.getpid():x}"
    names = Place(f"rqann{tag}", f"rqbob{tag}", f"rqlab{tag}", shared, str(a_python(folder)))
    command("groupadd", names.lab)
    for name, groups in ((names.ann, names.lab), (names.bob, "")):
        command("useradd", "-m", "-d", str(folder / name), "-s", "/bin/bash", "-U", *(["-G", groups] if groups else []), name)
    try:
        yield names
    finally:
        for name in (names.ann, names.bob):
            send(signal.SIGKILL, names.processes(name, errands=True))
            command("userdel", name)
        command("groupdel", names.lab)
        shutil.rmtree(folder)


def a_python(folder: Path) -> Path:
    """Return an interpreter below `folder`, where all may run it, of the same version as this one, with the same packages."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base = next((path for path in (f"/usr/bin/{version}", f"/usr/local/bin/{version}") if os.access(path, os.X_OK)), None)
    if base is None:
        pytest.skip(f"there is no {version} that all accounts may run")
    subprocess.run([base, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    own = folder / "venv" / "lib" / version / "site-packages"
    (own / "here.pth").write_text("\n".join([*PACKAGES, str(ROOT)]))
    # What redis-py wants beside it on Python 3.11.0 to 3.11.2, and not on the one that runs the tests, is of asyncio since 3.11.
    (own / "async_timeout.py").write_text("from asyncio import timeout\n")
    return folder / "venv" / "bin" / "python"
