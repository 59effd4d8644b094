"""What comes before work: a worker says to the broker what it and its predecessors hold, at its start and whenever Redis was put right."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from rqflow import clock, logs
from rqflow.broker.broker import Broker
from rqflow.broker.messages import ANNOUNCE, REBUILD
from rqflow.worker.heritage import Heritage
from rqflow.worker.link import Backoff
from rqflow.worker.slots import Slots
from rqflow.worker.spool import Spool

logger = logging.getLogger(__name__)

#: Ends that are told again in one turn.
BATCH = 200
#: Seconds after which it is said that the hub is waited for, and between two such lines: a moment of it is usual.
SAY_AFTER, SAY_AGAIN = 3.0, 60.0


class Entrance:
    """Where a worker stands with the broker: outside, until what it holds was heard."""

    def __init__(self, broker: Broker, slots: Slots, spool: Spool, queues: Sequence[str]) -> None:
        """Enter by `broker` for work of `queues`, holding what is in `slots` and `spool`."""
        self._broker, self._slots, self._spool, self._queues = broker, slots, spool, queues
        self._heritage: Heritage | None = None
        self._wait = Backoff(first=0.02, longest=0.1)
        self._waits_since = 0.0
        self._say_at = 0.0

    @property
    def is_outside(self) -> bool:
        """Whether what is held here was not heard yet in this epoch of Redis."""
        return self._broker.epoch is None

    @property
    def is_waiting(self) -> bool:
        """Whether the hub has to do something before there is work."""
        return self._wait.failing

    def inherit(self, heritage: Heritage) -> None:
        """Take over from earlier workers once we are in."""
        self._heritage = heritage

    def enter(self) -> tuple[bool, Iterable[str], Iterable[str]]:
        """Say what is held here, and tell again what the history may not have.

        Returns whether it was heard; executions that were given up, because another try of them has begun; runs that want `advance`. Raises
        BrokerError, or redis-py's errors, when Redis does not answer: then we are outside still.
        """
        frontiers: set[str] = set()
        try:
            announced = self._broker.announce_held(self._queues, {**self._spool.named(), **self._slots.named()})
            if not announced.is_heard:
                self.wait(REBUILD)
                return False, (), ()
            # What is in the slots is told by the next turn.
            again = [end for end in self._spool.ends() if end.execution_id not in self._slots]
            for at in range(0, len(again), BATCH):
                frontiers.update(self._broker.turn(queues=(), wanted=0, ends=again[at:at + BATCH]).unfinished)
            if self._heritage:
                self._heritage.enter_upon(self._slots.named())
        except Exception:
            self._broker.epoch = None
            raise
        return True, announced.given_up, frontiers

    def heed(self, closed: str) -> None:
        """Heed what Redis said in place of giving work: empty when it gives some."""
        if not closed:
            self._wait.reset()
        elif closed == ANNOUNCE:
            self._broker.epoch = None
        else:
            self.wait(closed)

    def wait(self, closed: str) -> None:
        """Redis gives no work before the hub has done its part: ask again in a while."""
        now = clock.monotonic()
        if not self._wait.failing:
            self._waits_since, self._say_at = now, now + SAY_AFTER
        wait = self._wait.next()
        logger.debug("no work before the hub has done its part (%s), asking again in %.2f s", closed, wait, extra=logs.context("closed"))
        if now < self._say_at:
            return
        self._say_at = now + SAY_AGAIN
        what = "to put the runs right in a Redis that began anew" if closed == REBUILD else "to note this worker"
        logger.warning("waiting since %.0f s for `rqflow scheduler` %s. Nothing is lost: tasks go on, and what they come to is kept here",
                       now - self._waits_since, what, extra=logs.context("waits_for_hub", closed=closed))

    def left(self) -> float:
        """Return the seconds for which Redis need not be asked again."""
        return self._wait.left()
