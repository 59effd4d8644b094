"""Waiting for a condition, with a deadline, in place of sleeping; whether processes live, and what calls cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import psutil

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


def is_alive(one: psutil.Process | int) -> bool:
    """Tell whether a process is there, and no zombie."""
    try:
        process = psutil.Process(one) if isinstance(one, int) else one
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # perhaps since the first question
        return False


def processor_seconds(call: Callable[[], object], *, before: Callable[[], object] = lambda: None) -> float:
    """Return what the quickest of three calls takes of the processor in this process, each after `before`: what else the machine does is not counted."""
    took = []
    for _ in range(3):
        before()
        began = time.process_time()
        call()
        took.append(time.process_time() - began)
    return min(took)
