"""One look at the history for several of the leader's chores: an idle hub asks once a second whether there is anything, not once for each."""

from __future__ import annotations

import threading
from datetime import timedelta

from rqflow import clock
from rqflow.recorder.loop import keep_running
from rqflow.store import attention
from rqflow.store.attention import Wanted
from rqflow.store.engine import Engine, reading

#: Seconds between two looks, and so the longest for which a chore that waits does not see that it is to stop.
EVERY = 1.0


class Attention:
    """Knows for which chores there is something to do; one thread looks, the others only ask it."""

    def __init__(self, engine: Engine, settle: timedelta) -> None:
        """Look at `engine`; a removal that was done longer ago than `settle` is to be done once more."""
        self._engine, self._settle = engine, settle
        #: What the last look found; before the first there may be anything.
        self.wanted = Wanted(removals=True, backfills=True, callbacks=True, schedules=True)
        self._seen = threading.Condition()

    def run(self, stop: threading.Event) -> None:
        """Look until `stop` is set, over all failures."""

        def step() -> None:
            self.step()
            stop.wait(EVERY)

        keep_running(step, stop, name="attention")

    def step(self) -> None:
        """Look once; raises StoreError."""
        with reading(self._engine) as connection:
            wanted = attention.look(connection, clock.utcnow(), self._settle)
        with self._seen:
            self.wanted = wanted
            self._seen.notify_all()

    def wait(self, chore: str, stop: threading.Event, *, at_most: float) -> None:
        """Wait until there is something to do for a chore (a field of Wanted), `stop` is set, or so many seconds are over."""
        until = clock.monotonic() + at_most
        with self._seen:
            while not stop.is_set() and clock.monotonic() < until:
                # Not what was seen before: the chore has just looked itself.
                if self._seen.wait(EVERY) and getattr(self.wanted, chore):
                    return
