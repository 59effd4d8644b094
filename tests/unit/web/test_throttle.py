"""How often a login may be tried."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rqflow.exceptions import TooMany
from rqflow.web.throttle import OF_ADDRESS, OF_ALL, OF_NAME, Throttle


def tries(name: Callable[[int], str], ip: Callable[[int], str], *, most: int = 200) -> int:
    """How many tries pass before one is refused."""
    throttle = Throttle()
    for number in range(most):
        try:
            throttle.must_wait(name(number), ip(number))
        except TooMany:
            return number
    return most


@pytest.mark.parametrize(("name", "ip", "passed"), [
    (lambda _: "ann", lambda _: "192.0.2.1", OF_NAME),
    (lambda n: "ANN" if n % 2 else "ann", lambda _: "192.0.2.1", OF_NAME),
    (lambda n: f"u{n}", lambda _: "192.0.2.1", OF_ADDRESS),
    (lambda _: "ann", lambda n: f"192.0.2.{n}", OF_ALL),
    (lambda _: "ann", lambda n: f"2001:db8:0:1::{n:x}", OF_NAME),
    (lambda n: f"u{n}", lambda n: f"2001:db8:0:1:{n:x}::1", OF_ADDRESS),
    (lambda _: "ann", lambda n: f"2001:db8:0:{n:x}::1", OF_ALL),
    (lambda _: "ann", lambda n: "192.0.2.1" if n % 2 else "::ffff:192.0.2.1", OF_NAME),
    (lambda n: f"u{n}", lambda n: f"192.0.2.{n}", 200),
    (lambda _: "ann", lambda _: "no address", OF_NAME),
])
def test_tries_are_counted_by_name_and_by_address(name: Callable[[int], str], ip: Callable[[int], str], passed: int) -> None:
    assert tries(name, ip) == passed
