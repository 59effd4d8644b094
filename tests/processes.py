"""Processes that tests look for and end by pid; each may end by itself between any two questions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

import psutil


def matching(condition: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    """Return the processes of this machine for which `condition` holds; not those that go while they are asked, or may not be asked."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if condition(process):
                found.append(process)
    return found


def send(number: int, processes: Iterable[psutil.Process]) -> None:
    """Send a signal to each that is still there."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
