from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from rqflow.cli.main import main
from rqflow.deploy import flock
from tests.processes import matching, send
from tests.waiting import until


class Result(NamedTuple):
    """What one call of the command line gave."""

    code: int
    out: str
    err: str


Rqflow = Callable[..., Result]


def await_no_redis(home: Path) -> None:
    """Wait until the private Redis of a home has ended."""
    for keeper in home.glob("state/*/redis.keeper"):
        until(lambda: not flock.is_held(keeper), what="the private Redis to end")  # noqa: B023


def end_all(home: Path) -> None:
    """End what was started for a home, and wait until its private Redis has ended too."""
    def is_ours(process: psutil.Process) -> bool:
        words = " ".join(process.cmdline())
        # Not Redis and its keeper, which end after their users: without a Redis these would take longer.
        return process.pid != os.getpid() and str(home) in words and "keeper.py" not in words and "redis-server" not in words

    send(signal.SIGTERM, matching(is_ours))
    await_no_redis(home)


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
    await_no_redis(home)
