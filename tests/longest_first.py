"""The order of tests that run beside each other: what takes longest begins first, so that no process is left alone with it at the end.

longest_first.txt has what was measured: seconds, and a unit, which is a test, or a file whose tests stay together. An old figure makes the tests slower,
and nothing wrong; what is not there counts as quick. `RQFLOW_TEST_MEASURE=1 scripts/test` writes the file anew.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parents[1]
MEASURED = Path(__file__).with_suffix(".txt")
#: Units that take fewer seconds are not written down.
QUICK = 3
#: Name of a test -> the unit to which it belongs.
Unit = Callable[[str], str]


def by_file(nodeid: str) -> str:
    """Return the file of a test."""
    return nodeid.partition("::")[0]


def by_test(nodeid: str) -> str:
    """Return the test itself, or its file where the tests of that share what takes long to make."""
    return by_file(nodeid) if _shares(by_file(nodeid)) else nodeid


@cache
def _shares(file: str) -> bool:
    return 'scope="module"' in (ROOT / file).read_text(encoding="utf-8")


class ByUnit(LoadScopeScheduling):
    """Gives each process that has little left to do the next unit."""

    def __init__(self, config: pytest.Config, log: Producer, unit: Unit) -> None:
        """Divide the tests by `unit`."""
        super().__init__(config, log)
        self._unit = unit

    def _split_scope(self, nodeid: str) -> str:
        return self._unit(nodeid)


class LongestFirst:
    """A plugin of pytest, for the tests of a folder."""

    def __init__(self, folder: str, unit: Unit) -> None:
        """Nothing is known of this session."""
        self._folder, self._unit = folder, unit
        self._seconds: dict[str, float] = defaultdict(float)

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Sort the tests in the processes of xdist; one who runs some by hand sees them in the order of their files."""
        if hasattr(config, "workerinput"):
            seconds = measured()
            items.sort(key=lambda item: -seconds.get(self._unit(item.nodeid), 0))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Producer) -> ByUnit:
        """Let units come in the order in which the tests were collected."""
        config.option.loadscopereorder = False
        return ByUnit(config, log, self._unit)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up what a unit takes."""
        self._seconds[self._unit(report.nodeid)] += report.duration

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write it down, if that is wanted, in place of what there was of this folder."""
        if os.environ.get("RQFLOW_TEST_MEASURE") and not hasattr(session.config, "workerinput"):
            others = {unit: seconds for unit, seconds in measured().items() if not unit.startswith(self._folder)}
            known = others | {unit: seconds for unit, seconds in self._seconds.items() if seconds >= QUICK}
            MEASURED.write_text("".join(f"{seconds:5.0f} {unit}\n" for unit, seconds in sorted(known.items(), key=lambda one: (-one[1], one[0]))))


def measured() -> dict[str, float]:
    """Return {unit: seconds}."""
    pairs = (line.split(maxsplit=1) for line in MEASURED.read_text(encoding="utf-8").splitlines())
    return {unit: float(seconds) for seconds, unit in pairs}
