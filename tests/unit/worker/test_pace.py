"""How much goes over a link at a time, by what is known of it: no link, no clock."""

from __future__ import annotations

import pytest

from rqflow.worker.pace import LEAST, MOMENT, MOST, Pace


def trips(pace: Pace, count: int, *, rate: float, way: float, most: int = MOST) -> list[float]:
    """Send so many times what may be sent, over a link of `rate` bytes and `way` seconds; return the seconds of each trip beyond the way."""
    took = []
    for _ in range(count):
        size = min(pace.size, most)
        pace.note(size, way + size / rate)
        took.append(size / rate)
    return took


def test_a_wide_link_is_used_after_a_few_trips() -> None:
    pace = Pace()
    trips(pace, 9, rate=100e6, way=0.0005)
    assert pace.size == MOST


@pytest.mark.parametrize("way", [0.001, 0.1, 1.0])
def test_a_narrow_link_is_never_filled_for_long_however_far_it_leads(way: float) -> None:
    took = trips(Pace(), 50, rate=12_500, way=way)
    assert max(took) < 1.0
    assert max(took[5:]) < 2.5 * MOMENT


def test_a_far_link_that_is_wide_is_used() -> None:
    pace = Pace()
    trips(pace, 12, rate=10e6, way=0.6)
    assert pace.size == MOST


def test_a_link_that_becomes_narrow_is_felt_at_once_and_one_that_breaks_is_learned_anew() -> None:
    pace = Pace()
    trips(pace, 12, rate=100e6, way=0.01)
    pace.note(pace.size, 8.0)
    assert pace.size < MOST / 20
    pace.restart()
    assert pace.size == LEAST


def test_little_that_was_sent_says_nothing_about_much() -> None:
    pace = Pace()
    trips(pace, 50, rate=100e6, way=0.01, most=100)
    assert pace.size == LEAST
