"""Reliability 69, first half: from a bare machine to a first green run in at most five commands, and these do what they say."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from rqflow.cli.main import main
from tests.docs.test_tutorial import ROOT, blocks
from tests.profile import ENVIRON

#: Git and Python's venv come with no bare Ubuntu, and the clone is a command too.
BEFORE = ["apt-get install -y git python3-venv", "git clone …"]


def test_r69_the_first_green_run_takes_five_commands_at_most() -> None:
    said = [line for block in blocks(ROOT / "README.md", "sh") for line in block.splitlines()]
    until_green = said[:next(number for number, line in enumerate(said) if "submit hello.py --run --follow" in line) + 1]
    assert len(BEFORE) + len(until_green) <= 5
    assert os.access(ROOT / until_green[0], os.X_OK)


def test_r69_the_commands_of_the_demo_end_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    for name, value in {**ENVIRON, "RQFLOW_HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    commands = re.findall(r"^run (.+)$", (ROOT / "scripts" / "demo").read_text(), re.MULTILINE)
    assert "scripts/install airflow,embedded" in (ROOT / "scripts" / "demo").read_text()
    for command in commands:
        assert main([os.path.expandvars(word) for word in shlex.split(command)]) == 0, command
    assert len(commands) >= 3
    assert "sequencing" in capsys.readouterr().out
