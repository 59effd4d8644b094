"""How often a login may be tried: a few times a minute for one name from one address, and more for all names from it."""

from __future__ import annotations

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from rqflow.exceptions import NotPermitted

#: Tries a minute for a name from an address, and from an address at all.
OF_NAME, OF_ADDRESS = 5, 30


class TooMany(NotPermitted):
    """The login was tried too often."""


class Throttle:
    """Counts tries of one process, also while Redis is away."""

    def __init__(self) -> None:
        """Begin to count."""
        self._window = MovingWindowRateLimiter(MemoryStorage())
        self._of_name, self._of_address = RateLimitItemPerMinute(OF_NAME), RateLimitItemPerMinute(OF_ADDRESS)

    def must_wait(self, username: str, ip: str) -> None:
        """Count a try; raises TooMany when there were too many in the last minute."""
        if not (self._window.hit(self._of_address, ip) and self._window.hit(self._of_name, ip, username.casefold()[:100])):
            raise TooMany("too many tries: wait a minute, then try again")
