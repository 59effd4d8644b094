"""Waiting before the next attempt when Redis does not answer: longer each time, never the same for two workers."""

from __future__ import annotations

import random

from rqflow import clock

_FIRST, _LONGEST = 0.1, 5.0


class Backoff:
    """The waits between attempts: doubling from `first` to `longest` seconds, with half of each by chance."""

    def __init__(self, *, first: float = _FIRST, longest: float = _LONGEST) -> None:
        """Begin without a failure."""
        self._first, self._longest = first, longest
        self._attempts = 0
        self._until = 0.0
        #: Since when it has held.
        self.since = clock.utcnow()

    def next(self) -> float:
        """Count a failure; return the seconds to wait before the next attempt."""
        longest = min(self._first * (1 << min(self._attempts, 16)), self._longest)
        self._attempts += 1
        wait = longest * (0.5 + random.random() / 2)  # noqa: S311 - jitter, no secret
        self._until = clock.monotonic() + wait
        return wait

    def reset(self) -> None:
        """Count a success."""
        if self._attempts:
            self.since = clock.utcnow()
        self._attempts, self._until = 0, 0.0

    def left(self) -> float:
        """Return the seconds that are left of the wait; 0 when an attempt may be made."""
        return max(self._until - clock.monotonic(), 0.0) if self._attempts else 0.0

    @property
    def failures(self) -> int:
        """How many attempts in a row have failed."""
        return self._attempts

    @property
    def failing(self) -> bool:
        """Whether the last attempt failed."""
        return self._attempts > 0
