"""Waking the loop of a worker."""

from __future__ import annotations

import os


class Wake:
    """A descriptor by which threads and signal handlers wake the loop."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __call__(self) -> None:
        """Wake the loop."""
        os.eventfd_write(self._descriptor, 1)

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._descriptor

    def clear(self) -> None:
        """Forget that it was called."""
        try:
            os.eventfd_read(self._descriptor)
        except BlockingIOError:
            return
