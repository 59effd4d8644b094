"""Recovery: from what is seen in Redis to a list of repairs, and their application by the leader.

`repairs` is pure and decides; each repair does one thing by an atomic step that looks again before it changes anything, so a repair that
comes late, or twice, does no harm.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rqflow import logs
from rqflow.broker import unserved
from rqflow.broker.broker import Broker
from rqflow.broker.unserved import Unserved
from rqflow.broker.watch import Held, Notice, Seen, Watch
from rqflow.clock import from_micros
from rqflow.recorder.loop import keep_running
from rqflow.scheduler.epoch import EpochKeeper
from rqflow.settings import Settings

logger = logging.getLogger(__name__)

#: Seconds between two looks: so many, or a part of the lease where that is shorter.
LOOK_EVERY, LEASE_PART = 5.0, 0.25
#: Seconds after which a run whose creator is still writing it is finished by the hub, and a job that RQ's list lacks is pushed again.
PREPARING_TOO_LONG, NOWHERE_TOO_LONG = 30.0, 10.0


class Repair(Protocol):
    """One thing that is to be mended."""

    def apply(self, watch: Watch) -> None:
        """Mend it, unless it has been meanwhile. Raises BrokerError, or redis-py's errors, when Redis does not answer."""


@dataclass(frozen=True, slots=True)
class MarkUnreachable:
    """Leases are over: the workers are not heard of. Their tasks count as running still."""

    tries: tuple[Held, ...]

    def apply(self, watch: Watch) -> None:
        """Mark them."""
        marked = watch.mark_unreachable(self.tries)
        if marked:
            leases_end = min(held.lease_end for held in self.tries)
            logger.warning("%d tasks cannot be reached since %s UTC; they count as running, nothing is lost; their workers are waited for", marked,
                           f"{from_micros(int(leases_end * 1_000_000)):%Y-%m-%d %H:%M:%S}", extra=logs.context("unreachable"))


@dataclass(frozen=True, slots=True)
class DeclareLost:
    """The grace of an unreachable try is over: whoever held it has ended it by now."""

    held: Held

    def apply(self, watch: Watch) -> None:
        """Give it up; by on_lost the task goes on."""
        watch.lose(self.held, reason="lost: its worker could not be reached, and its grace is over")


@dataclass(frozen=True, slots=True)
class Tell:
    """Tries have been unreachable for so long that somebody should know."""

    tries: tuple[Held, ...]

    def apply(self, watch: Watch) -> None:
        """Tell it once."""
        for notice in watch.notify(self.tries):
            logger.warning("%s", words(notice), extra=logs.context("unreachable_notice", dag_id=notice.dag_id, task_id=notice.task_id))


@dataclass(frozen=True, slots=True)
class GiveUp:
    """A run takes longer than its dagrun_timeout."""

    run_key: str

    def apply(self, watch: Watch) -> None:
        """Stop it, and call it failed."""
        if watch.expire(self.run_key) != "gone":
            run = watch.broker.run_info(self.run_key)
            logger.warning("run %s of %s takes longer than its dagrun_timeout: it is stopped, and has failed", run.run_id if run else self.run_key,
                           run.dag_id if run else "?", extra=logs.context("run_expired", run_key=self.run_key))


@dataclass(frozen=True, slots=True)
class FinishPreparing:
    """Whoever wrote a run into Redis vanished over it."""

    run_key: str

    def apply(self, watch: Watch) -> None:
        """Write the rest and start it."""
        watch.broker.finish_preparing(self.run_key)


@dataclass(frozen=True, slots=True)
class Continue:
    """A step had more to do than one call may, and nobody went on with it."""

    run_key: str

    def apply(self, watch: Watch) -> None:
        """Do the rest."""
        watch.broker.advance_all([self.run_key])


@dataclass(frozen=True, slots=True)
class PushAgain:
    """RQ's list lacks jobs that are ready: a stock worker took them and died."""

    queue: str

    def apply(self, watch: Watch) -> None:
        """Put them back."""
        pushed = watch.mend_queue(self.queue, older_than=NOWHERE_TOO_LONG)
        if pushed:
            logger.warning("%d jobs were queued but on no list of RQ; pushed again, nothing is lost", pushed,
                           extra=logs.context("pushed_again", queue=self.queue))


@dataclass(frozen=True, slots=True)
class TellUnserved:
    """Tasks have waited for so long on a queue that no live worker serves that somebody should know."""

    queue: Unserved

    def apply(self, watch: Watch) -> None:
        """Tell it once, until a worker has come or nothing waits there any more."""
        unserved.note_told(watch.broker.connection, self.queue.queue)
        logger.warning("%s. Start one with `rqflow worker -Q %s`", self.queue, self.queue.queue,
                       extra=logs.context("queue_unserved", queue=self.queue.queue))


def repairs(seen: Seen) -> list[Repair]:
    """Return what is to be mended, the most pressing first."""
    found: list[Repair] = [DeclareLost(held) for held in seen.over]
    if seen.expired:
        found.append(MarkUnreachable(seen.expired))
    if seen.notices:
        found.append(Tell(seen.notices))
    found += [GiveUp(run_key) for run_key in seen.late]
    found += [Continue(run_key) for run_key in seen.frontiers]
    found += [FinishPreparing(run_key) for run_key, since in seen.preparing if seen.now - since > PREPARING_TOO_LONG]
    found += [PushAgain(queue) for queue in seen.queues]
    return found


def notices(queues: Sequence[Unserved], *, now: float, after: float) -> list[Repair]:
    """Return what is to be told of queues that nobody serves: those that are so for `after` seconds at `now` and were not told of."""
    return [TellUnserved(queue) for queue in queues if not queue.told and now - queue.since.timestamp() >= after]


def words(notice: Notice) -> str:
    """Return a notice of an unreachable try as people read it."""
    until = f"until {notice.grace:g} s after that" if notice.grace else "for as long as it takes"
    return (
        f"{notice.dag_id}.{notice.task_id} try {notice.try_number} of run {notice.run_id}: its worker {notice.worker} is not heard of since "
        f"{notice.since:%Y-%m-%d %H:%M:%S} UTC. Nothing is lost: it counts as running {until}. When you know that it is gone: "
        f"rqflow task mark-lost {notice.run_id} {notice.task_id}"
    )


def pause_of(settings: Settings) -> float:
    """Return the seconds between two looks."""
    return min(LOOK_EVERY, settings.worker.lease.total_seconds() * LEASE_PART)


class Recovery:
    """The leader's watch: looks, decides, mends."""

    def __init__(self, broker: Broker, epochs: EpochKeeper) -> None:
        """Watch through `broker`, which nobody else uses, and believe Redis as `epochs` does."""
        self._watch = Watch(broker)
        self._epochs = epochs
        self._pause = pause_of(broker.settings)
        # A look that comes later than this left a time that nobody watched.
        self._patience = self._pause + broker.settings.worker.gap.total_seconds()
        self._unserved_after = broker.settings.scheduler.unserved_after.total_seconds()
        self._first = True

    def step(self) -> Sequence[Repair]:
        """Look once and mend what is to be mended; returns the repairs.

        Raises BrokerError or redis-py's errors when Redis does not answer, StoreError when SQL is needed and does not.
        """
        self._epochs.believe()
        seen = self._watch.look(pause=self._patience, first=self._first)
        self._first = False
        found = repairs(seen)
        found += notices(unserved.look(self._watch.broker.connection), now=seen.now, after=self._unserved_after)
        for repair in found:
            repair.apply(self._watch)
        self._epochs.serve()
        return found

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set, over all failures."""
        def step() -> None:
            self.step()
            self._epochs.wait(self._pause, stop)

        keep_running(step, stop, name="recovery")
