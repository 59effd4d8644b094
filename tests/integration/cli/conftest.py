from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from rqflow.cli.main import main
from rqflow.deploy import flock
from tests.waiting import until


class Result(NamedTuple):
    """What one call of the command line gave."""

    code: int
    out: str
    err: str


Rqflow = Callable[..., Result]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No settings but the test's own, a private Redis that ends at once, and no signal handlers left behind."""
    monkeypatch.setenv("RQFLOW__REDIS__EMBEDDED_LINGER", "200ms")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def rqflow(home: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Rqflow]:
    """Calls the command line with the test's home, in this process; waits at the end until the private Redis is gone."""

    def call(*words: object) -> Result:
        code = main(["--home", str(home), *map(str, words)])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    yield call
    for keeper in home.glob("state/*/redis.keeper"):
        until(lambda: not flock.is_held(keeper), what="the private Redis to end")  # noqa: B023
