"""`rqflow dag sign` as a person uses it: at a terminal, with a key that is locked, and where nobody can be asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from rqflow.security import sshsig
from tests.profile import PATIENCE
from tests.signers import Person, person

COMMAND = [sys.executable, "-m", "rqflow.cli.main", "dag", "sign"]
FILE = """
from rqflow import DAG, BashOperator
for name in ("one", "two"):
    with DAG(name):
        BashOperator(task_id="t", bash_command="true")
"""


@pytest.fixture
def alice(tmp_path: Path) -> Person:
    return person(tmp_path / "keys", "alice", passphrase="geheim")


@pytest.fixture
def environ(tmp_path: Path, alice: Person) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RQFLOW", "AIRFLOW", "SSH_"))}
    return {**kept, "RQFLOW_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "RQFLOW__SECURITY__SIGNING_KEY": str(alice.key)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pair.py"
    path.write_text(FILE)
    return path


def test_a_passphrase_is_asked_for_once_for_all_dags_of_a_file(alice: Person, environ: dict[str, str], file: Path) -> None:
    with pexpect.spawn(COMMAND[0], [*COMMAND[1:], str(file)], env=environ, timeout=2 * PATIENCE, encoding="utf-8") as terminal:
        terminal.expect("Enter passphrase")
        terminal.sendline("geheim")
        terminal.expect(pexpect.EOF)
        shown = str(terminal.before)
    assert terminal.exitstatus == 0, shown
    assert "Enter passphrase" not in shown
    assert "geheim" not in shown
    found = json.loads(file.with_name("pair.py.sig").read_text())["dags"]
    assert [entry["dag_id"] for entry in found] == ["one", "two"]
    assert {sshsig.parse(each).fingerprint for entry in found for each in entry["signatures"]} == {alice.fingerprint}


def test_nobody_is_asked_without_a_terminal(environ: dict[str, str], file: Path) -> None:
    done = subprocess.run([*COMMAND, str(file)], env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE * 2, check=False)
    assert done.returncode == 4
    assert "locked with a passphrase" in done.stderr
    assert "ssh-add" in done.stderr
    assert not file.with_name("pair.py.sig").exists()
