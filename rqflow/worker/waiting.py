"""The shepherd's queue: processes to be started when others have ended.

Only the standard library and rqflow's base are imported here: the shepherd uses this module.
"""

from __future__ import annotations

from collections import deque

from rqflow.worker.shepherd_protocol import Start


class Waiting:
    """Starts that wait for a slot, first come, first served. Times are CLOCK_BOOTTIME."""

    def __init__(self) -> None:
        self._requests: deque[tuple[Start, float]] = deque()

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._requests)

    @property
    def slots(self) -> int:
        """Among how many processes the next one has its slot; 0 when none waits."""
        return self._requests[0][0].slots if self._requests else 0

    @property
    def late_at(self) -> float | None:
        """When the next one will have waited too long."""
        return self._requests[0][1] if self._requests else None

    def put(self, request: Start, now: float) -> None:
        """Let a start wait for its slot, from now on."""
        self._requests.append((request, now + request.patience))

    def take(self, running: int) -> list[Start]:
        """Return those that may start where so many processes run."""
        found: list[Start] = []
        while self._requests and running + len(found) < self.slots:
            found.append(self._requests.popleft()[0])
        return found

    def late(self, now: float) -> list[Start]:
        """Return those that have waited too long; they do not wait any more."""
        found: list[Start] = []
        while self._requests and now > self._requests[0][1]:
            found.append(self._requests.popleft()[0])
        return found

    def remove(self, execution_id: str) -> bool:
        """Let one wait no more; False when it does not."""
        found = next((entry for entry in self._requests if entry[0].id == execution_id), None)
        if found:
            self._requests.remove(found)
        return found is not None

    def clear(self) -> None:
        """Let none wait."""
        self._requests.clear()
