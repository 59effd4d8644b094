"""A virtual environment is made once for tasks that want the same, also at once, and what cannot be made is told."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from rqflow.worker import runner

SCRIPT = Path(runner.__file__).with_name("virtualenv.py")


def a_wheel(folder: Path) -> Path:
    """A package of one module, as pip installs it without a network."""
    path = folder / "seqlab-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("seqlab.py", "READS = 42\n")
        wheel.writestr("seqlab-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: seqlab\nVersion: 1.0\n")
        wheel.writestr("seqlab-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("seqlab-1.0.dist-info/RECORD", "")
    return path


def start(folder: Path, name: str, **venv: Any) -> subprocess.Popen[str]:
    """Start a task whose function tells what the module of the package has."""
    source = "def f():\n    import seqlab\n    return seqlab.READS\n"
    wanted = {"folder": str(folder / "venvs"), "python": None, "requirements": [], "system_site_packages": False,
              "options": ["--no-index", "--no-deps"], **venv}
    spec = {"mode": "function", "source": source, "function": "f", "args": [], "kwargs": {}, "context": {}, "venv": wanted,
            "result": str(folder / f"{name}.json")}
    path = folder / f"{name}.spec"
    path.write_text(json.dumps(spec))
    return subprocess.Popen([sys.executable, SCRIPT, path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def told(folder: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((folder / f"{name}.json").read_text()))


def test_two_tasks_share_one_environment(tmp_path: Path) -> None:
    wheel = str(a_wheel(tmp_path))
    both = [start(tmp_path, name, requirements=[wheel]) for name in ("one", "two")]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [told(tmp_path, name)["xcoms"] for name in ("one", "two")] == [{"return_value": "42"}] * 2, said
    assert sum("making a virtual environment" in text for text in said) == 1


def test_what_cannot_be_made_is_told(tmp_path: Path) -> None:
    missing = start(tmp_path, "missing", python="2.3")
    missing.communicate(timeout=60)
    assert (missing.returncode, told(tmp_path, "missing")["reason"]) == (1, "there is no python2.3 on this worker's PATH")
    bad = start(tmp_path, "bad", requirements=["nothing-of-this-name"])
    said = bad.communicate(timeout=60)[0]
    assert told(tmp_path, "bad")["reason"].startswith("its requirements cannot be installed (nothing-of-this-name)"), said
    assert "Traceback" not in said
