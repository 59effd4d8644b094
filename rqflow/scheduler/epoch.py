"""The leader's part in epochs: notices that Redis is not what it was, puts its runs right from the history, and lets work go on.

look -> is Redis believed?  no  -> begin an epoch (SQL first), rebuild every unfinished run, open it
yes -> note new workers in SQL and admit them; open queues whose workers have all said what they hold
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from rqflow import clock, logs
from rqflow.broker.broker import Broker
from rqflow.broker.connection import longest_wait
from rqflow.broker.epochs import Epochs, EpochSeen, MachineSeen
from rqflow.recorder import mirroring
from rqflow.recorder.rebuild import half_recorded, rebuild_run
from rqflow.states import RunState
from rqflow.store import epochs as store_epochs
from rqflow.store import pools, runs, workers
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction
from rqflow.store.runs import RunFilter
from rqflow.store.workers import WorkerRecord
from rqflow.values import Graces

logger = logging.getLogger(__name__)

_UNFINISHED = frozenset({RunState.QUEUED, RunState.RUNNING})
#: Seconds between two lines about whom a closed queue waits for.
SAY_AGAIN = 60.0
#: Seconds within which a stop is noticed.
STOP_LOOK = 0.5
#: How long ago a run may have ended whose last events Redis may have lost.
_HALF_RECORDED = timedelta(days=1)
#: A worker's last sign of life is noted this often.
_NOTE_SEEN = timedelta(hours=1)


class EpochKeeper:
    """Keeps Redis believed. For the leader alone."""

    def __init__(self, broker: Broker, engine: Engine) -> None:
        """Watch through `broker`, of the calling thread, and `engine`."""
        self._broker = broker
        self._engine = engine
        self._epochs = Epochs(broker.connection)
        self._known: int | None = None
        self._workers: dict[str, WorkerRecord] = {}
        self._opened_at = clock.monotonic()
        self._patience = 1.5 * broker.settings.worker.heartbeat.total_seconds()
        self._said: tuple[dict[str, list[str]], float] = ({}, 0.0)

    def believe(self) -> None:
        """Put Redis right where it is not what it was. Raises StoreError, BrokerError or redis-py's errors; nothing may be repaired then."""
        if self._known is None:
            self._remember()
        seen = self._epochs.look()
        if not seen.is_believed(self._known or 0):
            self._remember()
            self._begin(seen)

    def serve(self) -> None:
        """Admit new workers, and open queues for which nobody is waited any more. Raises the same errors."""
        seen = self._epochs.look()
        self._admit(seen)
        if seen.closed_queues:
            # Somebody may have said meanwhile that a worker is gone.
            self._remember()
            self._open_queues(seen)

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Wait so long until the next look, or until a worker calls, or until `stop` is set, which is noticed a little later."""
        until = clock.monotonic() + seconds
        while not stop.is_set() and (left := until - clock.monotonic()) > 0:
            if self._epochs.wait_call(min(left, STOP_LOOK, longest_wait(self._broker.connection))):
                return

    def _remember(self) -> None:
        """Read from SQL which epoch was the last, and which workers there are."""
        with reading(self._engine) as connection:
            self._known = store_epochs.last(connection)
            self._workers = {record.name: record for record in workers.list_all(connection)}

    # -- a new epoch --

    def _begin(self, seen: EpochSeen) -> None:
        number, reason = max(seen.number, self._known or 0) + 1, why(seen, self._known or 0)

        def note(connection: Connection) -> None:
            store_epochs.begin(connection, number, run_id=seen.server, reason=reason)

        level = logging.WARNING if seen.number or self._known else logging.INFO
        logger.log(level, "%s: its runs are put right from the history, nothing is lost", reason, extra=logs.context("epoch_begins", number=number))
        run_in_transaction(self._engine, note)
        self._known = number
        self._epochs.begin(number, seen.server)
        machines = self._without_gone(seen.machines)
        with reading(self._engine) as connection:
            unfinished = [record.run_key for record in runs.search(connection, RunFilter(states=_UNFINISHED))]
            unfinished += half_recorded(connection, clock.utcnow() - _HALF_RECORDED)
            limits = {pool.name: pool.slots for pool in pools.list_all(connection)}
        for name, slots in limits.items():
            self._broker.set_pool(name, slots)
        mirroring.send(self._broker, self._engine)
        # The oldest first, as they would have been started.
        todo = dict.fromkeys([*reversed(unfinished), *self._broker.live_runs()])
        changed = sum(rebuild_run(self._broker, self._engine, run_key) for run_key in todo)
        closed = {queue for name, queues in self._awaited(machines).items() if queues for queue in queues}
        self._epochs.open(closed)
        self._opened_at, self._said = clock.monotonic(), ({}, 0.0)
        logger.log(level, "epoch %d is open, nothing is lost: %d unfinished runs, %d tasks put right", number, len(todo), changed,
                   extra=logs.context("epoch_open"))

    def _without_gone(self, machines: Mapping[str, MachineSeen]) -> dict[str, MachineSeen]:
        """Let Redis forget workers that signed off since its data were written; one that is there after all says so in this epoch."""
        gone = {name for name in machines if (record := self._workers.get(name)) and record.ended_at is not None}
        for name in gone:
            self._epochs.forget(name)
        return {name: machine for name, machine in machines.items() if name not in gone}

    def _awaited(self, machines: Mapping[str, MachineSeen]) -> dict[str, Collection[str]]:
        """Return {machine: queues} of all that may hold tasks: those in SQL and in Redis that have not left."""
        known: dict[str, Collection[str]] = {record.name: record.queues for record in self._workers.values() if record.ended_at is None}
        known |= {machine.name: machine.queues for machine in machines.values() if not machine.has_left}
        for machine in machines.values():
            if machine.has_left:
                known.pop(machine.name, None)
        return known

    # -- workers --

    def _admit(self, seen: EpochSeen) -> None:
        """Note in SQL who is new or has changed, then let the new ones claim."""
        now = clock.utcnow()
        changed = [_record(machine, now) for machine in seen.machines.values() if self._is_news(machine, now)]
        if changed:
            run_in_transaction(self._engine, lambda connection: workers.put(connection, changed))
            self._workers |= {record.name: record for record in changed}
        for machine in seen.machines.values():
            if machine.has_left:
                self._epochs.forget(machine.name)
        if new := [machine for machine in seen.machines.values() if machine.name not in seen.admitted and not machine.has_left]:
            self._epochs.admit(new)

    def _is_news(self, machine: MachineSeen, now: datetime) -> bool:
        known = self._workers.get(machine.name)
        if known is None or tuple(known.queues) != machine.queues or (known.ended_at is not None) != machine.has_left:
            return True
        if not machine.has_left and bool(known.verifies) != machine.verifies:
            return True
        return now - known.seen_at > _NOTE_SEEN

    # -- queues --

    def _open_queues(self, seen: EpochSeen) -> None:
        """Open each closed queue for which nobody is waited any more."""
        waiting: dict[str, list[str]] = {queue: [] for queue in seen.closed_queues}
        for name, queues in self._awaited(seen.machines).items():
            for queue in queues:
                if queue in waiting and name not in seen.announced:
                    waiting[queue].append(name)
        since = clock.monotonic() - self._opened_at
        for queue, names in waiting.items():
            if not names or _is_over(self._broker.settings.worker.grace, queue, since):
                self._epochs.open_queue(queue)
                logger.info("queue %s gives work again", queue, extra=logs.context("queue_open", queue=queue))
        self._say({queue: sorted(names) for queue, names in waiting.items() if names}, since)

    def _say(self, waiting: dict[str, list[str]], since: float) -> None:
        """Say whom the closed queues wait for, when they had the time to come, when it changes, and every minute."""
        said, at = self._said
        if since < self._patience or (waiting == said and clock.monotonic() < at + SAY_AGAIN):
            return
        self._said = (waiting, clock.monotonic())
        for queue, names in waiting.items():
            logger.warning(
                "queue %s waits for what %s may still run, since Redis began anew %.0f s ago; nothing is lost. When a worker is gone for good: "
                "rqflow worker forget NAME", queue, ", ".join(names), since, extra=logs.context("queue_closed", queue=queue))


def why(seen: EpochSeen, known: int) -> str:
    """Return in words why a new epoch begins."""
    if not seen.number:
        return "Redis has no data of rqflow" if known else "Redis is new"
    if seen.number < known:
        return "Redis has old data"
    if seen.about != seen.server:
        return "Redis was restarted or replaced"
    return "Redis was being put right when the scheduler ended"


def _is_over(graces: Graces, queue: str, seconds: float) -> bool:
    """Tell whether whatever ran on a queue has been ended by its grace, the time that nobody knew of included."""
    grace = graces.queues.get(queue, graces.default)
    return grace is not None and seconds > grace.total_seconds()


def _record(machine: MachineSeen, now: datetime) -> WorkerRecord:
    return WorkerRecord(name=machine.name, queues=machine.queues, seen_at=now, ended_at=now if machine.has_left else None,
                        verifies=machine.verifies)
