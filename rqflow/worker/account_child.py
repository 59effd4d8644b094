"""What is done under another account than the worker's: `python -I -S account_child.py`, with a JSON object, the parcel, on its input.

Its `do` says what. "begin": make a private folder, write files into it, move outputs aside, go to the task's folder and become the task. All else is
an errand, whose answer is a JSON object on the output: "hello"; "exist" and "read", before a task begins; "collect" and "partial", when it has
ended; "remove" folders; "signal" what belongs to a task. So nothing that an account owns is touched by anybody but that account: no link that it
lays leads further than it could go by itself, and it reaches what only it may reach, such as a home on NFS.

One file, standard library only, for Python 3.8 and later; beside it only outputs.py is loaded.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import os
import resource
import shutil
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: The exit code of a task that could not begin, and what its log says then, before the reason.
NOT_BEGUN, COMPLAINT = 125, "rqflow: could not be started: "
#: In the folder of a try: what was there before it and was moved aside.
_MOVED = "moved.json"
#: Bytes of a result, or of another file, that are told.
_MOST = 16 << 20
_MARKER = "RQFLOW_EXECUTION"


class Unfit(Exception):
    """Something is not as it must be; the message says what."""


def main() -> int:
    """Do what the parcel says; an exit code that is not 0 says that it could not be done."""
    with open(0, encoding="utf-8", errors="surrogateescape", closefd=False) as stream:
        parcel = json.load(stream)
    if os.getuid() != parcel["uid"]:
        sys.stderr.write(f"{COMPLAINT}this is the account {os.getuid()}, not {parcel['uid']}\n")
        return NOT_BEGUN
    if parcel["do"] == "begin":
        return _begin(parcel)
    json.dump(_ERRANDS[parcel["do"]](parcel), sys.stdout)
    return 0


def _begin(parcel: dict[str, Any]) -> int:
    try:
        folder = _private_folder(parcel["base"], parcel["folder"])
        for name, content in parcel["files"].items():
            _write(folder, name, content)
        moved = _outputs().move_aside(parcel["outputs"], parcel["try_number"])
        if moved:
            _write(folder, _MOVED, json.dumps(moved))
        _enter(parcel)
    except Unfit as error:
        sys.stderr.write(f"{COMPLAINT}{error}\n")
    except OSError as error:
        sys.stderr.write(f"{COMPLAINT}{error.strerror}: {error.filename or parcel['argv'][0]}\n")
    except ValueError as error:
        sys.stderr.write(f"{COMPLAINT}{error}\n")
    return NOT_BEGUN


def _enter(parcel: dict[str, Any]) -> None:
    """Become the task."""
    if not os.path.isdir(parcel["cwd"]):  # noqa: PTH112 (pathlib's one hides errors)
        raise Unfit(f"its folder {parcel['cwd']} does not exist, or {parcel['name']} may not go there")
    os.chdir(parcel["cwd"])
    if parcel["nofile"] is not None:
        # A program that changes accounts may have set it anew.
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        limit = parcel["nofile"] if hard == resource.RLIM_INFINITY else min(parcel["nofile"], hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    if parcel["umask"]:
        os.umask(int(parcel["umask"], 8))
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.execve(_find(parcel["argv"][0], parcel["env"].get("PATH", os.defpath)), parcel["argv"], parcel["env"])  # noqa: S606 (no shell is wanted)


def _private_folder(base: str, folder: str) -> str:
    """Make the folder of a try below `base`, which is this account's alone; raises Unfit for one that is not."""
    old = os.umask(0o077)
    try:
        try:
            os.mkdir(base, 0o700)  # noqa: PTH102 (like its neighbours)
        except FileExistsError:
            found = os.lstat(base)
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
                raise Unfit(f"{base} is not a folder that is this account's alone: remove it, or mend its owner and mode") from None
        os.makedirs(os.path.join(folder, "cwd"), 0o700)  # noqa: PTH103, PTH118
    finally:
        os.umask(old)
    return folder


def _write(folder: str, name: str, content: Any) -> None:
    """Write a file of the folder, for its owner only; its folders are made. Raises Unfit for a name that leads out of it."""
    path = Path(folder, name)
    if ".." in path.parts or not path.is_relative_to(folder):
        raise Unfit(f"the file {name!r} lies outside of its folder")
    data = base64.b64decode(content["base64"]) if isinstance(content, dict) else content.encode("utf-8", "surrogateescape")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)  # Whatever the umask is, the program must read it.
    with open(descriptor, "wb") as stream:
        stream.write(data)


def _find(program: str, path: str) -> str:
    if "/" in program:
        return program
    names = (f"{folder or '.'}/{program}" for folder in path.split(":"))
    return next((name for name in names if os.access(name, os.X_OK)), program)


def _hello(parcel: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001 (every errand takes one)
    return {"uid": os.getuid()}


def _exist(parcel: dict[str, Any]) -> dict[str, Any]:
    return {"exist": _outputs().exist(parcel["outputs"])}


def _read(parcel: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"text": _content(parcel["path"])}
    except (OSError, ValueError) as error:
        return {"error": getattr(error, "strerror", None) or "it is not UTF-8"}


def _collect(parcel: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"result": None, "moved": [], "missing": _outputs().missing(parcel["outputs"])}
    for name, path in (("result", parcel["result"]), ("moved", os.path.join(parcel["folder"], _MOVED))):  # noqa: PTH118
        try:
            found[name] = json.loads(_content(path))
        except (OSError, ValueError):
            continue
    return found


def _partial(parcel: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"partial": _outputs().mark_partial(parcel["outputs"], parcel["try_number"])}
    except OSError as error:
        return {"partial": [], "error": f"{error.strerror}: {error.filename}"}


def _remove(parcel: dict[str, Any]) -> dict[str, Any]:
    for folder in parcel["folders"]:
        shutil.rmtree(folder, ignore_errors=True)
    return {"left": [folder for folder in parcel["folders"] if os.path.lexists(folder)]}


def _signal(parcel: dict[str, Any]) -> dict[str, Any]:
    """Send a signal to a process group, to processes by pid and start, and to all that carry the mark of the task."""
    sent = []
    with contextlib.suppress(OSError):  # nobody of the group is left, or nobody whom this account may signal
        os.killpg(parcel["group"], parcel["number"])
    marked = f"{_MARKER}={parcel['mark']}".encode()
    known = dict(map(tuple, parcel["processes"]))
    for entry in os.scandir("/proc"):
        pid = int(entry.name) if entry.name.isdecimal() else 0
        if not pid or pid == os.getpid():
            continue
        try:
            fields = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
            if int(fields[2]) == parcel["group"]:
                continue
            if known.get(pid) == int(fields[19]) or marked in Path(entry.path, "environ").read_bytes().split(b"\0"):
                os.kill(pid, parcel["number"])
                sent.append(pid)
        except OSError:
            continue
    return {"sent": sent}


def _content(path: str) -> str:
    """Return the text of a file, or of its beginning."""
    with open(path, "rb") as stream:
        return stream.read(_MOST).decode()


def _outputs() -> Any:
    """Return the module outputs.py beside this file, without what surrounds it."""
    spec = importlib.util.spec_from_file_location("outputs", Path(__file__).with_name("outputs.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_ERRANDS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "hello": _hello, "exist": _exist, "read": _read, "collect": _collect, "partial": _partial, "remove": _remove, "signal": _signal,
}

if __name__ == "__main__":
    sys.exit(main())
