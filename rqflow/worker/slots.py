"""Which tries a worker holds, and how many more it may take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rqflow import clock
from rqflow.broker.messages import End
from rqflow.worker.tries import Try

#: An end that is not older than this, in seconds, is told as it is.
_FRESH = 0.05


class Slots:
    """The tries of a worker, from their claims until the broker has their ends.

    A slot is free again when its process has ended; the try stays held, and is named in heartbeats, until the end is accepted. More may be
    held than there are slots: those that were claimed ahead wait for one.
    """

    def __init__(self, size: int, limit: int | None) -> None:
        """Take `size` tries at a time, and no more than `limit` in all."""
        self.size = size
        self._left = limit
        self._running: dict[str, Try] = {}
        self._ended: dict[str, tuple[Try, End, float]] = {}
        self.claimed = 0

    def __len__(self) -> int:
        """Return the number of tries that run."""
        return len(self._running)

    def __contains__(self, execution_id: object) -> bool:
        """Tell whether this execution is held."""
        return execution_id in self._running or execution_id in self._ended

    def room(self, ahead: int = 0) -> int:
        """Return how many more tries may be claimed now, `ahead` of them without a free slot; none ahead where their number is limited."""
        if self._left is None:
            return max(self.size + ahead - len(self._running), 0)
        return min(max(self.size - len(self._running), 0), self._left)

    @property
    def has_ends(self) -> bool:
        """Whether there are ends that the broker does not have yet."""
        return bool(self._ended)

    @property
    def spent(self) -> bool:
        """Whether no more tries may be claimed, ever."""
        return self._left == 0

    def take(self, held: Try, *, adopted: bool = False) -> None:
        """Put a try into a slot."""
        self._running[held.id] = held
        if not adopted:
            self.claimed += 1
            self._left = None if self._left is None else self._left - 1

    def drop(self, held: Try) -> None:
        """Let go of a try that was never begun; no heartbeat names it any more, and so it goes back to its queue."""
        del self._running[held.id]
        self.claimed -= 1

    def running(self) -> list[Try]:
        """Return the tries that run."""
        return list(self._running.values())

    def has_former(self, held: Try) -> bool:
        """Tell whether another try of the same task runs that was here before."""
        task = (held.claim.run_key, held.claim.index)
        for other in self._running.values():
            if other is held:
                return False
            if (other.claim.run_key, other.claim.index) == task:
                return True
        return False

    def get(self, execution_id: str) -> Try | None:
        """Return the try of an execution that runs."""
        return self._running.get(execution_id)

    def end(self, held: Try, end: End) -> None:
        """Free the slot of a try; its end is to be told."""
        self._running.pop(held.id, None)
        self._ended[held.id] = (held, end, clock.boottime())

    def ends(self) -> list[End]:
        """Return the ends to be told, how long ago they were brought up to date."""
        now = clock.boottime()
        return [end if now - at < _FRESH else replace(end, ended_ago=end.ended_ago + now - at) for _, end, at in self._ended.values()]

    def accept(self, ends: Iterable[End]) -> list[tuple[Try, End]]:
        """Let go of tries whose ends the broker has; return them."""
        known = [self._ended.pop(end.execution_id) for end in ends if end.execution_id in self._ended]
        return [(held, end) for held, end, _ in known]

    def named(self) -> dict[str, tuple[str, int, int]]:
        """Return all tries that are held, as a heartbeat names them."""
        claims = [held.claim for held in self._running.values()] + [held.claim for held, _, _ in self._ended.values()]
        return {claim.execution_id: (claim.run_key, claim.index, claim.try_number) for claim in claims}
