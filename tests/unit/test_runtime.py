"""What Python does for us only when it is asked to."""

from __future__ import annotations

import signal
import sys
import time

import pytest

from rqflow import runtime
from rqflow.cli.following import Terminated, terminable
from tests.profile import PATIENCE


class Interrupted:
    """Something that a signal meets at the moment in which it goes."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __del__(self) -> None:
        signal.raise_signal(self._number)


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_an_interrupt_that_comes_while_an_object_goes_is_heeded(number: signal.Signals, raised: type[BaseException]) -> None:
    with pytest.raises(raised):
        interrupted(number)


def interrupted(number: int) -> None:
    with terminable(), runtime.heeding_interrupts():
        Interrupted(number)
        time.sleep(PATIENCE)


def test_what_else_goes_wrong_there_is_said_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __del__(self) -> None:
            raise ValueError("broken")

    said: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: said.append(unraisable.exc_value))
    with runtime.heeding_interrupts():
        Broken()
    assert [str(one) for one in said] == ["broken"]
    assert sys.unraisablehook.__name__ == "<lambda>"
