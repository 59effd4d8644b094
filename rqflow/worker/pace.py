"""How much goes over a link at a time: a narrow one is not filled for longer than a moment. Knows no clock and no link."""

from __future__ import annotations

#: Seconds that a round trip may take beyond what the way itself takes. A tunnel carries all of a machine in one connection, so heartbeats, results
#: and the questions whether the tunnel lives wait for what was sent before them.
MOMENT = 0.25
#: Bytes of the smallest round trip, which is also the first, and of the largest.
LEAST, MOST = 4 << 10, 1 << 20


class Pace:
    """How many bytes the next round trip may have: as many as took a moment in the last one, and no more than twice as many as that."""

    def __init__(self) -> None:
        """Nothing is known of the link."""
        self.restart()

    def restart(self) -> None:
        """Forget what is known: the link broke, and the next one may be another."""
        self.size = LEAST
        #: Seconds of the shortest round trip so far.
        self._way = float("inf")

    def note(self, size: int, seconds: float) -> None:
        """Take note that a round trip with `size` bytes took so long."""
        self._way = min(self._way, seconds)
        took = seconds - self._way
        if took > MOMENT:
            self.size = max(int(min(size, self.size) * MOMENT / took), LEAST)
        elif took < MOMENT / 2 and 2 * size > self.size:
            self.size = min(2 * self.size, MOST)
