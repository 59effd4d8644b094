"""What was read a moment ago for a tab that was told of a change, for the other tabs that were told of it too.

Other than a piece of a page (pieces.py), what is read is the same for all who may see everything, though not all may do the same with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from rqflow import clock
from rqflow.web.news import NOTHING, SLOWEST, EventId, order
from rqflow.web.pieces import Pieces

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """When something began to be read: the newest event that was known then, and how often requests had changed something."""

    upto: EventId
    era: int
    at: float


def moment(pieces: Pieces) -> Moment:
    """Return this moment."""
    return Moment(upto=order(pieces.newsroom.upto), era=pieces.era, at=clock.monotonic())


def holds(pieces: Pieces, then: Moment, upto: EventId) -> bool:
    """Tell whether what was read then may be shown to a tab that was told of the event `upto`; never to who wants all that there is now."""
    return NOTHING < upto <= then.upto and then.era == pieces.era and clock.monotonic() - then.at <= SLOWEST


@dataclass(slots=True)
class _Kept(Generic[T]):
    lock: threading.Lock = field(default_factory=threading.Lock)
    #: What was read, and when.
    found: tuple[T, Moment] | None = None


class Recent(Generic[T]):
    """Things by key, as they were read last. For all threads."""

    def __init__(self, pieces: Pieces, most: int = 8) -> None:
        """Keep so many of them."""
        self._pieces, self._most = pieces, most
        self._lock = threading.Lock()
        self._kept: dict[Hashable, _Kept[T]] = {}

    def of(self, key: Hashable, upto: EventId, read: Callable[[], T]) -> T:
        """Return what is there under a key, read anew unless it was for a tab that was told of as much."""
        if upto == NOTHING:
            return read()
        with self._lock:
            kept = self._kept.pop(key, None) or _Kept[T]()
            self._kept[key] = kept
            while len(self._kept) > self._most:
                self._kept.pop(next(iter(self._kept)))
        with kept.lock:
            if kept.found is None or not holds(self._pieces, kept.found[1], upto):
                then = moment(self._pieces)
                kept.found = read(), then
            return kept.found[0]
