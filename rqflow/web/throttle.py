"""How often a login may be tried: for one name from one address, for all names from it, and for one name from everywhere."""

from __future__ import annotations

import ipaddress

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from rqflow.exceptions import TooMany

#: Tries a minute for a name from an address, from an address at all, and for a name from everywhere: enough that nobody is kept out by some others.
OF_NAME, OF_ADDRESS, OF_ALL = 5, 30, 60


class Throttle:
    """Counts tries of one process, also while Redis is away."""

    def __init__(self) -> None:
        """Begin to count."""
        self._window = MovingWindowRateLimiter(MemoryStorage())
        self._of_name, self._of_address, self._of_all = (RateLimitItemPerMinute(most) for most in (OF_NAME, OF_ADDRESS, OF_ALL))

    def must_wait(self, username: str, ip: str) -> None:
        """Count a try; raises TooMany when there were too many in the last minute."""
        place, name = _place(ip), username.casefold()[:100]
        # The address comes first: names are kept of no more tries than it has.
        if not (self._window.hit(self._of_address, place) and self._window.hit(self._of_name, place, name) and self._window.hit(self._of_all, name)):
            raise TooMany("too many tries: wait a minute, then try again")


def _place(ip: str) -> str:
    """Return what counts as one address: of IPv6 its network of 64 bits, all of which one machine may have."""
    try:
        address = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:
        return ip
    if isinstance(address, ipaddress.IPv4Address):
        return ip
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))
