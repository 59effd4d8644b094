"""What the script of `rqflow worker bootstrap` runs on the new machine: a virtual environment of the wheels that it carries, and a link to it.

On the standard library of a Python 3.8 or later alone; it looks for one under which the wheels run. These come on stdin, as a tar file in base64.
Nothing is used before all of it is there: the link is switched last, and what an interrupted call left is made anew.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

#: Where a Python may be that is new enough.
NAMES = ("python3", "python3.11", "python3.12", "python3.13", "python3.14", "python3.15")
#: Says of an environment that it is whole.
COMPLETE = ".complete"
#: How many times the size of the wheels must be free on the disk: for the files, what Python makes of them, and some more.
ROOM = 8
#: Environments that stay: processes of the one before may run from it still.
KEPT = 2
#: What a Python is asked: for which of the wheels there is none that runs under it, and what it is.
ASK = """
import glob, json, os, platform, sys
folder = sys.argv[1]
sys.path.insert(0, glob.glob(os.path.join(folder, "pip-*.whl"))[0])
told = {"version": platform.python_version(), "machine": platform.machine(), "libc": " ".join(platform.libc_ver()), "missing": ["rqflow"]}
try:
    import venv
    told["venv"] = True
except ImportError:
    told["venv"] = False
if sys.version_info >= (3, 11):
    from pip._vendor.packaging.tags import parse_tag, sys_tags
    own, fitting = set(sys_tags()), {}
    for path in glob.glob(os.path.join(folder, "*.whl")):
        name, _, rest = os.path.basename(path)[:-4].partition("-")
        fitting[name] = fitting.get(name, False) or bool(own & parse_tag("-".join(rest.split("-")[-3:])))
    told["missing"] = sorted(name for name in fitting if not fitting[name])
print(json.dumps(told))
"""


class Problem(Exception):
    """What keeps it from being installed, for people."""


def main(told: dict[str, Any]) -> int:
    """Install what `told` says and stdin has; return the exit code."""
    try:
        install(told, Path(told["prefix"]).expanduser())
    except Problem as problem:
        sys.stderr.write(f"rqflow bootstrap: {problem}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("rqflow bootstrap: interrupted; nothing of it is used. Run it again.\n")
        return 130
    except OSError as error:
        sys.stderr.write(f"rqflow bootstrap: {error.filename or ''}: {error.strerror}; nothing of it is used\n")
        return 1
    return 0


def install(told: dict[str, Any], prefix: Path) -> None:
    """Make the environment, unless it is there, and let the links lead to it. Raises Problem or OSError."""
    data = payload(told["sha256"])
    try:
        (prefix / "venvs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Problem(f"the folder {prefix} cannot be made: {error.strerror}") from error
    free = shutil.disk_usage(prefix).free
    if free < ROOM * len(data):
        raise Problem(f"{free >> 20} MB are free in {prefix}, and it takes {ROOM * len(data) >> 20} MB")
    target = prefix / "venvs" / told["name"]
    if not (target / COMPLETE).exists():
        with tempfile.TemporaryDirectory(prefix=".wheels-", dir=prefix) as wheels:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                archive.extractall(wheels)  # noqa: S202 - its sha256 was compared
            make(Path(wheels), target, told)
    link(Path("venvs", told["name"]), prefix / "venv")
    remove_old(prefix / "venvs", told["name"])
    tell(told, prefix / "venv" / "bin" / "rqflow")


def payload(sha256: str) -> bytes:
    """Return the tar file that is on stdin; raises Problem for one that is not whole."""
    try:
        data = base64.b64decode(sys.stdin.buffer.read())
    except ValueError:
        data = b""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise Problem("what came over the link is not whole; run it again")
    return data


def make(wheels: Path, target: Path, told: dict[str, Any]) -> None:
    """Make the environment with the first Python of this machine under which all wheels run, and which has all that they need."""
    whys = []
    paths = {os.path.realpath(path): path for path in map(shutil.which, [told["python"]] if told["python"] else NAMES) if path}
    for path in paths.values():
        done = subprocess.run([path, "-c", ASK, str(wheels)], capture_output=True, text=True, check=False)
        found = json.loads(done.stdout) if done.returncode == 0 else {"version": "(broken)", "missing": ["anything"], "machine": "?", "libc": "?"}
        who = f"{path} is Python {found['version']} on {found['machine']} with {found['libc']}"
        if found["missing"]:
            whys.append(f"{who}: it cannot use {', '.join(found['missing'][:4])}")
        elif not found["venv"]:
            whys.append(f"{who}: it has no module venv (on Debian: apt install python3-venv)")
        else:
            try:
                make_with(path, wheels, target, told)
                return
            except Problem as problem:
                shutil.rmtree(target, ignore_errors=True)
                whys.append(f"{who}: {problem}")
    raise Problem(f"no Python of this machine fits: it takes {told['needs']}. {'; '.join(whys) or 'There is none'}. Nothing of it is used")


def make_with(python: str, wheels: Path, target: Path, told: dict[str, Any]) -> None:
    """Make the environment at its place; what is there of an earlier, interrupted call goes first."""
    shutil.rmtree(target, ignore_errors=True)
    sys.stderr.write(f"rqflow bootstrap: installs rqflow {told['version']} with {python} into {target}\n")
    run([python, "-m", "venv", "--without-pip", str(target)])
    pip = next(wheels.glob("pip-*.whl"))
    run([str(target / "bin" / "python"), str(pip / "pip"), "install", "--quiet", "--no-index", "--no-compile", "--no-cache-dir",
         "--disable-pip-version-check", "--find-links", str(wheels), "pip", *told["projects"]], "pip install")
    run([str(target / "bin" / "rqflow"), "version"])
    (target / COMPLETE).write_text(told["version"] + "\n")


def run(command: list[str], name: str = "") -> None:
    """Run a command; raises Problem with the last that it said, under a `name` that says more than its words."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ, check=False)
    if done.returncode:
        said = [line for line in done.stdout.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        raise Problem(f"{name or ' '.join(command)} failed: {said[-1]}")


def link(target: Path, place: Path) -> None:
    """Let a symbolic link lead to `target`, at one stroke; raises Problem where something else is in its place."""
    if place.exists() and not place.is_symlink():
        raise Problem(f"{place} is in the way: it is no link")
    fresh = place.with_name(f"{place.name}.new-{os.getpid()}")
    fresh.symlink_to(target)
    fresh.replace(place)


def remove_old(folder: Path, current: str) -> None:
    """Remove environments but the newest ones."""
    others = sorted((path for path in folder.iterdir() if path.name != current), key=lambda path: path.stat().st_mtime)
    for path in others[:max(len(others) - (KEPT - 1), 0)]:
        shutil.rmtree(path, ignore_errors=True)


def tell(told: dict[str, Any], command: Path) -> None:
    """Let the command be found, and say what to type next."""
    place = Path("~/.local/bin/rqflow").expanduser()
    with contextlib.suppress(OSError, Problem):
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.is_symlink() or str(place.readlink()).endswith("/venv/bin/rqflow"):
            link(command, place)
    found = shutil.which("rqflow")
    word = "rqflow" if found and os.path.realpath(found) == os.path.realpath(command) else str(command)
    sys.stdout.write(f"rqflow {told['version']} is installed: {command}\nNext: {word} worker join {told['hub']}\n")


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
