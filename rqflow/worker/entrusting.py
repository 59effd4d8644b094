"""From a prepared try to one that begins under another account: what it is given in a parcel, and what is fetched back at its end.

The parcel lies in the worker's folder of the try, and is the input of account_child.py, which the account runs. So nothing of the worker's
folders is opened to it: not the spool, the journal, logs, other tries, nor keys.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rqflow.dag import unpacking
from rqflow.dag.version import Version
from rqflow.exceptions import TaskFailed
from rqflow.operators.base import TryJob
from rqflow.worker import limits, logfile
from rqflow.worker.account_child import COMPLAINT, NOT_BEGUN
from rqflow.worker.accounts import Account, NoSuchAccount, may_read
from rqflow.worker.processes import MARKER
from rqflow.worker.program import INSTALLED
from rqflow.worker.shepherd_client import ShepherdClient
from rqflow.worker.shepherd_protocol import Ended, Start
from rqflow.worker.tries import RESULT, Try
from rqflow.worker.workdir import CWD

PARCEL = "parcel.json"
#: In the folder that the account has for a try: the unpacked version, and the copy of Variables and Connections.
UNPACKED, OUTSIDE = "version", "outside.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """What a try has left: its result, outputs that are missing, and where others were moved before it began."""

    result: Mapping[str, Any] | None = None
    missing: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()


NOTHING = Left()


def job_of(job: TryJob, held: Try, runner: Path) -> TryJob:
    """Return a job with the paths that the account sees; `runner` is that of a Python child, below the package."""
    account = held.account
    assert account is not None
    return replace(job, folder=held.place, runner=INSTALLED / runner, venvs=Path(account.base, "venvs"), home=account.home)


def entrust(request: Start, held: Try, files: Mapping[str, Any]) -> Start:
    """Return what the shepherd starts in place of `request`, with the parcel written.

    Raises OSError; NoSuchAccount for a program, such as the worker's Python, that the account may not run.
    """
    account = held.account
    assert account is not None
    program = request.argv[0]
    if program.startswith("/") and Path(program).exists() and not may_read(program, account, os.X_OK):
        raise NoSuchAccount(f"{account.name} may not run {program}", hint="Install rqflow where all accounts may read it, such as /opt/rqflow.")
    held.is_bare = False
    parcel = held.folder / PARCEL
    write_parcel(parcel, account, held.place, files, argv=request.argv, env={**request.env, MARKER: held.id}, cwd=request.cwd,
                 outputs=request.outputs, try_number=request.try_number, nofile=request.nofile, umask=request.umask)
    whose = {"uid": account.uid, "errand": account.command} if account.is_by_sudo else {
        "uid": account.uid, "gid": account.gid, "groups": account.groups}
    # Its outputs are its own affair: whoever is root may not rename what a task names.
    return replace(request, argv=account.command, cwd="/", env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"}, inherit=False, outputs=(),
                   parcel=str(parcel), account=whose)


def write_parcel(path: Path, account: Account, place: Path, files: Mapping[str, Any], *, argv: Sequence[str], env: Mapping[str, str], cwd: str = "",
                 outputs: Sequence[str] = (), try_number: int = 1, nofile: int | None = None, umask: str | None = None) -> None:
    """Write the parcel of a process that begins as `argv` in a private folder `place` of an account, with `files` in it; raises OSError."""
    text = json.dumps({
        "do": "begin", "uid": account.uid, "name": account.name, "base": account.base, "folder": str(place), "files": dict(files),
        "outputs": list(outputs), "try_number": try_number, "cwd": cwd or f"{place}/{CWD}", "nofile": nofile, "umask": umask, "argv": list(argv),
        "env": dict(env),
    })
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(text)


def suit(held: Try, shepherd: ShepherdClient) -> None:
    """See whether a shepherd of an older release can start a try: it keeps no limits, which the log says; raises TaskFailed for an account."""
    if held.account and not shepherd.has_accounts:
        raise TaskFailed("the shepherd here is of an older release, and starts nothing under another account",
                         hint="It is replaced when the tasks that it holds have ended and its worker is started anew.")
    if held.limits is not limits.NONE and not shepherd.has_limits:
        held.notes = ("its limits are not kept: the shepherd here is of an older release, until the tasks that it holds have ended",)


def files_of(version: Version) -> dict[str, Any]:
    """Return the files of an unpacked version (dag/unpacking.py), as a parcel has them."""
    sources = {f"{UNPACKED}/{unpacking.SOURCES}/{name}": content for name, content in version.sources.items()}
    return {**sources, f"{UNPACKED}/{unpacking.VERSION}": version.json}


def fetch(held: Try) -> Left:
    """Return what a try has left under its account; nothing is asked of a command that has no outputs. Raises NoSuchAccount."""
    if held.account is None or (held.task is not None and held.task.operator == "bash" and not held.task.needs_source and not held.outputs):
        return NOTHING
    return fetch_from(held.account, held.place, held.outputs)


def fetch_from(account: Account, place: Path, outputs: Sequence[str] = ()) -> Left:
    """Return what a process has left that began in the folder `place`; raises NoSuchAccount."""
    told = account.ask("collect", folder=str(place), result=str(place / RESULT), outputs=list(outputs))
    return Left(result=told["result"] if isinstance(told["result"], dict) else None, missing=_texts(told["missing"]), moved=_texts(told["moved"]))


def complaint(ended: Ended, log: str) -> str:
    """Return why a try could not begin under its account, as account_child.py has said in its log; empty when it did begin."""
    if ended.status is None or not os.WIFEXITED(ended.status) or os.WEXITSTATUS(ended.status) != NOT_BEGUN:
        return ""
    return complaint_in(logfile.tail(log))


def complaint_in(text: str) -> str:
    """Return the last such complaint in what a process has printed; empty when there is none."""
    return next((line.removeprefix(COMPLAINT) for line in reversed(text.splitlines()) if line.startswith(COMPLAINT)), "")


def _texts(value: Any) -> tuple[str, ...]:
    """Return texts as an account tells them, which may tell anything."""
    return tuple(map(str, value)) if isinstance(value, list) else ()
