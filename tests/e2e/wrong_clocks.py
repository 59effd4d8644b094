"""Processes whose clocks are off: rqflow's clock in them, which alone asks the time, is moved."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.lab import Lab

#: What a process runs before anything else that is to believe other times: rqflow's clock, moved by the seconds that a file names.
SITECUSTOMIZE = """
import os
from datetime import timedelta
from pathlib import Path
from rqflow import clock

def moved(name, unit):
    ask = getattr(clock, name)
    setattr(clock, name, lambda: ask() + unit(float(Path(os.environ["TEST_CLOCK"]).read_text())))

moved("utcnow", lambda seconds: timedelta(seconds=seconds))
for name in ["timestamp", *os.environ["TEST_CLOCKS"].split()]:
    moved(name, float)
Path(f"{os.environ['TEST_CLOCK']}.{os.getpid()}").touch()
"""


def wrong(lab: Lab, seconds: float, clocks: str = "") -> tuple[Path, dict[str, str]]:
    """Return the file that says how far off the clocks of a process are, and what it must have in its environment."""
    file = lab.root / "off"
    move(file, seconds)
    folder = lab.root / "path"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    return file, {"PYTHONPATH": str(folder), "TEST_CLOCK": str(file), "TEST_CLOCKS": clocks}


def move(file: Path, seconds: float) -> None:
    """Let the clocks be off by so much; no process finds a half written file."""
    new = file.with_suffix(".new")
    new.write_text(str(seconds))
    new.rename(file)
