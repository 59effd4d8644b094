"""The script by which a machine without Internet gets this rqflow: `ssh user@hub rqflow worker bootstrap | sh`."""

from __future__ import annotations

import base64
import getpass
import hashlib
import io
import json
import re
import shlex
import socket
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rqflow.deploy.joining.wheels import Wheel, version_of

_INSTALLER = Path(__file__).with_name("installer.py")
#: Characters of a line of the payload.
_LINE = 76
#: What is written once is run as a whole or not at all: the shell begins with the last line, when all of it has come.
_SCRIPT = """\
#!/bin/sh
# Installs rqflow {version}. Made by `rqflow worker bootstrap`; run it with: sh
rqflow_bootstrap() {{
    for python in {pythons}; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 8))' > /dev/null 2>&1; then
            "$python" -c "$RQFLOW_INSTALLER" {told} << 'RQFLOW_WHEELS'
{payload}
RQFLOW_WHEELS
            return
        fi
    done
    echo "rqflow bootstrap: there is no Python here that fits, but $(python3 --version 2>&1); it takes {needs}" >&2
    return 1
}}
RQFLOW_INSTALLER=$(cat << 'RQFLOW_INSTALLER_END'
{installer}
RQFLOW_INSTALLER_END
)
rqflow_bootstrap
"""


def script(wheels: Sequence[Wheel], *, prefix: str, hub: str, python: str = "") -> str:
    """Return the script with these wheels in it; `hub` is the address that joining is to name, `python` the one to use there."""
    data = _tar(wheels)
    version, needs = version_of(wheels), needed(wheels)
    told = {
        "prefix": prefix, "sha256": hashlib.sha256(data).hexdigest(), "name": f"{version}-{digest(wheels)}", "version": version, "needs": needs,
        "hub": hub, "python": python, "projects": projects(wheels),
    }
    text = base64.b64encode(data).decode()
    lines = "\n".join(text[at:at + _LINE] for at in range(0, len(text), _LINE))
    return _SCRIPT.format(version=version, told=shlex.quote(json.dumps(told)), payload=lines, needs=needs,
                          pythons=shlex.join([python, "python3"] if python else ["python3", "python3.11", "python3.12", "python3.13"]),
                          installer=_INSTALLER.read_text(encoding="utf-8").rstrip("\n"))


def digest(wheels: Sequence[Wheel]) -> str:
    """Return what tells these wheels from others of the same version: two editable installations may have the same one."""
    found = hashlib.sha256()
    for one in sorted(wheels, key=lambda wheel: wheel.name):
        found.update(one.name.encode() + hashlib.sha256(one.data).digest())
    return found.hexdigest()[:8]


def projects(wheels: Sequence[Wheel]) -> list[str]:
    """Return what pip is told to install: rqflow, and the extras whose wheels are there, by the names of what they bring."""
    return sorted({one.name.split("-")[0] for one in wheels} - {"pip"})


def needed(wheels: Sequence[Wheel]) -> str:
    """Say for people which Python, and which machine, these wheels are for."""
    compiled = [one.name.removesuffix(".whl").split("-")[-3:] for one in wheels if not one.is_pure]
    exact = {python for pythons, abi, _ in compiled if "abi3" not in abi for python in pythons.split(".")}
    kinds = {re.sub(r"^(many|musl)linux(\d+|_\d+_\d+)_", "", platform) for _, _, names in compiled for platform in names.split(".")}
    version = "3." + " or 3.".join(sorted(one.removeprefix("cp3") for one in exact)) if exact else "3.11 or later"
    return f"Python {version}" + (f" on {', '.join(sorted(kinds))}" if kinds else "") + _libc(compiled)


def address(environ: Mapping[str, str]) -> str:
    """Return the address of this hub as who runs the command over ssh sees it: its user at the address that was dialled."""
    parts = environ.get("SSH_CONNECTION", "").split()
    return f"{getpass.getuser()}@{parts[2] if len(parts) == 4 else socket.gethostname()}"


def _libc(compiled: Sequence[Sequence[str]]) -> str:
    """Return the C library that the most demanding of these wheels wants."""
    wanted = [min(versions) for _, _, names in compiled if (versions := [found for name in names.split(".") if (found := _glibc(name))])]
    return f" with glibc {'.'.join(map(str, max(wanted)))} or later" if wanted else ""


def _glibc(platform: str) -> tuple[int, int] | None:
    parts = platform.split("_")
    if parts[0] == "manylinux":
        return int(parts[1]), int(parts[2])
    return {"manylinux2014": (2, 17), "manylinux2010": (2, 12), "manylinux1": (2, 5)}.get(parts[0])


def _tar(wheels: Sequence[Wheel]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for one in wheels:
            entry = tarfile.TarInfo(one.name)
            entry.size = len(one.data)
            archive.addfile(entry, io.BytesIO(one.data))
    return buffer.getvalue()
