"""Which releases of its libraries rqflow is tested with (reliability 81): the oldest that it allows, and the newest there is."""

from __future__ import annotations

import subprocess
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def required() -> list[Requirement]:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return [Requirement(line) for line in parser["options"]["install_requires"].split("\n") if line]


def test_r81_contract_tests_run_on_the_oldest_release_that_is_allowed_of_each_library() -> None:
    """Reliability 81: `scripts/oldest` takes the lower bound of every requirement, and each has one and no upper one."""
    oldest = subprocess.run([ROOT / "scripts/oldest", "--list"], capture_output=True, text=True, check=True).stdout.split()
    assert oldest == [str(one).replace(">=", "==") for one in required()]
    assert {"redis", "rq", "rq-scheduler", "SQLAlchemy"} <= {one.name for one in required()}


def test_r81_what_the_other_tests_run_on_is_allowed() -> None:
    """Reliability 81: `scripts/install` takes the newest, and nothing holds it back."""
    assert [one.name for one in required() if not one.specifier.contains(version(one.name), prereleases=True)] == []
