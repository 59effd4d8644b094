"""Makes the virtual environment of a task, unless there is one with the same contents, and goes on in it: `python virtualenv.py spec.json`.

One file, standard library only, like runner.py, which it becomes under the environment's interpreter. The spec holds `venv`: `folder` (where
environments are kept), `requirements` (lines as pip reads them), `python` (a version such as 3.11, or none for this interpreter),
`system_site_packages` and `options` (of `pip install`). Two tasks that want the same one at once make it once: the second one waits.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

#: In an environment that is complete.
_DONE = "complete"


class NotMade(Exception):
    """The environment cannot be made; the message says why."""


def main(spec_path: str) -> NoReturn:
    """Do it; what goes wrong is the result of the task."""
    spec = json.loads(Path(spec_path).read_text(encoding="utf-8"))
    try:
        python = environment(spec["venv"])
        os.execv(python, [python, str(Path(__file__).with_name("runner.py")), spec_path])  # noqa: S606 (no shell is wanted)
    except (NotMade, OSError) as error:
        result = {"state": "failed", "reason": str(error), "xcoms": {}, "retry": True}
        Path(spec["result"]).write_text(json.dumps(result), encoding="utf-8")
        sys.exit(1)


def environment(wanted: Mapping[str, Any]) -> str:
    """Return the interpreter of the environment that is wanted, made when it is not there; raises NotMade, OSError."""
    base = _interpreter(wanted.get("python"))
    folder = Path(wanted["folder"]).expanduser()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = folder / _name(base, wanted)
    with open(f"{place}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / _DONE).exists():
            shutil.rmtree(place, ignore_errors=True)
            _make(base, place, wanted)
            (place / _DONE).touch()
    return str(place / "bin" / "python")


def _interpreter(version: Any) -> str:
    if not version:
        return sys.executable
    name = f"python{version}"
    found = shutil.which(name)
    if found is None:
        raise NotMade(f"there is no {name} on this worker's PATH")
    return found


def _name(base: str, wanted: Mapping[str, Any]) -> str:
    """Return the name of an environment: the same contents, the same name."""
    about = [os.path.realpath(base), sys.version, wanted["requirements"], bool(wanted.get("system_site_packages")), list(wanted.get("options") or ())]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]


def _make(base: str, place: Path, wanted: Mapping[str, Any]) -> None:
    sys.stdout.write(f"rqflow: making a virtual environment in {place}\n")
    sys.stdout.flush()
    site = ["--system-site-packages"] if wanted.get("system_site_packages") else []
    _run([base, "-m", "venv", *site, str(place)], "the virtual environment cannot be made")
    if wanted["requirements"]:
        listed = place / "requirements.txt"
        listed.write_text("".join(f"{line}\n" for line in wanted["requirements"]), encoding="utf-8")
        pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", *map(str, wanted.get("options") or ())]
        _run([*pip, "-r", str(listed)], f"its requirements cannot be installed ({', '.join(wanted['requirements'])[:200]})")


def _run(command: list[str], complaint: str) -> None:
    """Run a program; raises NotMade with its complaint when it fails, the log has the rest."""
    code = subprocess.run(command, check=False).returncode
    if code:
        raise NotMade(f"{complaint}: {Path(command[0]).name} {command[2]} ended with exit code {code}")


if __name__ == "__main__":
    main(sys.argv[1])
