"""SIGHUP: a service reads its settings anew, by beginning once more as the same process. Tasks go on meanwhile."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable

from rqflow import logs
from rqflow.exceptions import RqflowError
from rqflow.sdnotify import NOTIFIER

logger = logging.getLogger(__name__)

#: The descriptor that is a terminal where somebody watches.
_STDERR = 2


class Reload:
    """Whether a service was told to begin once more."""

    def __init__(self, check: Callable[[], object]) -> None:
        """`check` raises RqflowError while the settings, as they are now, cannot be used: then the service goes on with those that it has."""
        self._check = check
        self.is_wanted = False

    @staticmethod
    def install_leaving(leave: Callable[[], None]) -> None:
        """Heed SIGHUP from now on by `leave` alone: for a process that `submit` has started, and that gives way to one that stays."""
        signal.signal(signal.SIGHUP, lambda *_: leave())

    def install(self, stop: Callable[[], None]) -> None:
        """Heed SIGHUP from now on by `stop`, after which `carry_out` is called. In a terminal it says that this is gone, and ends the service."""
        def heed(*_: object) -> None:
            try:
                self._check()
            except RqflowError as error:
                logger.error("not reloaded, it goes on with the settings that it has: %s", error, extra=logs.context("reload_refused"))
                return
            logger.info("reloading", extra=logs.context("reloading"))
            self.is_wanted = True
            NOTIFIER.reloading()
            stop()

        if not os.isatty(_STDERR):
            signal.signal(signal.SIGHUP, heed)

    def carry_out(self) -> None:
        """Begin once more, when that is wanted; the caller holds nothing any more. Does not return then."""
        if self.is_wanted:
            sys.stdout.flush()
            sys.stderr.flush()
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own command
