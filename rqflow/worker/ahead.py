"""How much a worker claims ahead of its free slots: nothing, unless its tasks are short. Pure.

A task of some milliseconds ends sooner than Redis is asked for the next one. As long as all that ends here is that short, a few tasks more
than there are slots are claimed, and wait with the shepherd, which begins the next one by itself. One that has not got its slot within a
moment is never begun: it goes back to its queue, and nothing is claimed ahead for a while.
"""

from __future__ import annotations

from rqflow.worker.tries import Try

#: Seconds that tasks take, on the average of the last few, for others to be claimed ahead; and how much the last one counts in it.
_SHORT, _WEIGHT = 0.02, 0.4
#: What counts as the average before any has ended: some must be short first.
_UNKNOWN = 0.2
#: Claims ahead for each slot, and in all.
_EACH, _MOST = 4, 32
#: Seconds within which one that waits must begin. After a longer time this machine may have slept, and its claims may be others'.
PATIENCE = 0.2
#: Seconds after which one has begun, if the shepherd has not said that it will not.
_SURE = 2 * PATIENCE


class Ahead:
    """What was claimed ahead and may still be waiting. Times are CLOCK_BOOTTIME."""

    def __init__(self, slots: int) -> None:
        """Judge for a worker with so many slots."""
        self._most = min(_EACH * slots, _MOST)
        self._pace = _UNKNOWN
        self._sent: dict[str, tuple[Try, float]] = {}

    def __len__(self) -> int:
        """Return how many may be waiting."""
        return len(self._sent)

    @property
    def room(self) -> int:
        """How many may be claimed ahead of the free slots."""
        return self._most if self._pace < _SHORT else 0

    @property
    def sure_at(self) -> float | None:
        """When the first of them will be known to have begun; None: none may be waiting."""
        return next((at + _SURE for _, at in self._sent.values()), None)

    def learn(self, seconds: float) -> None:
        """A task has taken so many seconds."""
        self._pace += _WEIGHT * (seconds - self._pace)

    def give_up(self) -> None:
        """One did not get its slot in time: some tasks must be short again before others are claimed ahead."""
        self._pace = _UNKNOWN

    def send(self, held: Try, now: float) -> None:
        """A try goes to the shepherd to wait there."""
        self._sent[held.id] = (held, now)

    def settle(self, held: Try) -> bool:
        """What became of a try is known; False when it was before."""
        return self._sent.pop(held.id, None) is not None

    def begun(self, now: float) -> list[Try]:
        """Return, once, those that must have begun by now."""
        found = [held for held, at in self._sent.values() if now >= at + _SURE]
        for held in found:
            del self._sent[held.id]
        return found
