"""Waiting for a condition, with a deadline, in place of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tests.profile import PATIENCE

T = TypeVar("T")


def until(condition: Callable[[], T], *, patience: float = PATIENCE, what: str = "") -> T:
    """Call `condition` until it returns something true and return that; fail after `patience` seconds, saying `what` was waited for."""
    deadline = time.monotonic() + patience
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:g} s in vain for {what or condition}; last answer: {result!r}")
        time.sleep(0.02)
