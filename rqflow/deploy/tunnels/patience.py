"""How long is waited before a tunnel is tried again: for ever, but nobody is annoyed."""

from __future__ import annotations

import random

from rqflow.deploy.tunnels.failures import REFUSING, Failure, State
from rqflow.settings import Tunnels

#: So often a key is refused before it is tried seldom: what bans addresses counts more than that.
DENIALS = 3
#: The most by which a wait is shortened, so that many who lost the same host do not come back at the same moment.
_SPREAD = 0.2


class Patience:
    """What went wrong in a row, and the waits that follow from it."""

    def __init__(self, settings: Tunnels) -> None:
        """Nothing went wrong yet."""
        self._settings = settings
        self._failures = 0
        #: How often our key was refused in a row.
        self.denials = 0

    def over(self) -> None:
        """Take note that it works."""
        self._failures = self.denials = 0

    def after(self, failure: Failure) -> float:
        """Take note of one more failure; return the seconds to wait."""
        self._failures += 1
        self.denials = self.denials + 1 if failure.state is State.DENIED else 0
        if self.denials >= DENIALS:
            return self._settings.retry_denied.total_seconds()
        longest = self._settings.retry_refused if failure.state in REFUSING else self._settings.retry_longest
        wait = self._settings.retry_first.total_seconds() * 2.0 ** min(self._failures - 1, 20)
        return min(wait, longest.total_seconds()) * random.uniform(1 - _SPREAD, 1)  # noqa: S311 - no secret
