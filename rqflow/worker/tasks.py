"""The tries of a worker on its own machine: started through the shepherd, watched, ended, their logs sent and their folders emptied.

Nothing here speaks to Redis but the preparation of a try (its run, its XComs) and the sending of logs.
"""

from __future__ import annotations

import logging
import math
import signal
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

from rqflow import clock, logs
from rqflow.broker.messages import Claim, End
from rqflow.broker.steps import LINK_ERRORS
from rqflow.exceptions import RqflowError, TaskFailed
from rqflow.security.trust import Refused
from rqflow.worker import entrusting, processes
from rqflow.worker.ahead import PATIENCE, Ahead
from rqflow.worker.conclude import Machine, conclude, refuse
from rqflow.worker.inquiries import Awaited
from rqflow.worker.logship import LogShipper
from rqflow.worker.outcome import Stop
from rqflow.worker.parting import Parting
from rqflow.worker.prepare import Preparer
from rqflow.worker.shepherd_client import ShepherdClient, ShepherdGone
from rqflow.worker.shepherd_protocol import Ended, Running
from rqflow.worker.slots import Slots
from rqflow.worker.spool import Spool
from rqflow.worker.tries import Try
from rqflow.worker.workdir import SPOOL, WorkDir

logger = logging.getLogger(__name__)


class Tasks:
    """The tries that a worker holds, and those whose logs are still on their way."""

    def __init__(self, work_dir: WorkDir, shepherd: ShepherdClient, preparer: Preparer, shipper: LogShipper, slots: Slots, machine: Machine) -> None:
        """Take the parts; `connect` brings them to life."""
        self.slots = slots
        self.spool = Spool(work_dir.path / SPOOL)
        self._ahead = Ahead(slots.size)
        #: What was claimed ahead was let go of: it goes back to its queue with the next heartbeat.
        self.has_dropped = False
        self._work_dir, self._shepherd, self._preparer, self._shipper, self._machine = work_dir, shepherd, preparer, shipper, machine
        #: Claims that could not be prepared, and ends that could not be understood, because Redis was away.
        self._unprepared: deque[Try] = deque()
        self._unconcluded: deque[tuple[Try, Ended]] = deque()
        #: Tries that must not start yet, because a former try of their task, which was given up, has not ended here.
        self._behind: list[Try] = []
        #: Tries for which secrets were asked of the hub, which are not here yet.
        self._awaiting: list[Try] = []
        self._parting = Parting(work_dir, shepherd, shipper)
        self._holds: Sequence[Path] = ()
        self._umask = 0o022

    def connect(self, *, umask: int, holds: Sequence[Path] = ()) -> None:
        """Meet the shepherd and take over what an earlier worker left with it; raises ShepherdGone when none can be started."""
        self._umask, self._holds = umask, holds
        running, ended = self._meet()
        for entry in running:
            self._adopt(entry)
        for end in reversed(ended):
            self._adopt(end)
        held = self.slots.running()
        self._work_dir.sweep((one.folder for one in held), (one.log for one in (*held, *self._parting)))
        if running or ended:
            logger.info("took over %d running tasks and %d ends", len(running), len(ended), extra=logs.context("adopted"))
        self.try_again()

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when tasks have ended."""
        return self._shepherd.fileno()

    @property
    def flush_at(self) -> float:
        """When `flush` has something to send, by the monotonic clock; infinity: nothing."""
        return self._shepherd.flush_at

    @property
    def room(self) -> int:
        """How many tasks may be claimed."""
        return self.slots.room(self._ahead.room if self._shepherd.has_slots else 0)

    @property
    def sure_at(self) -> float:
        """When something that was claimed ahead will be known to have begun, by CLOCK_BOOTTIME; infinity: nothing may be waiting."""
        return math.inf if self._ahead.sure_at is None else self._ahead.sure_at

    @property
    def is_unsure(self) -> bool:
        """Whether something that was claimed ahead may be waiting, or is still to be given back."""
        return len(self._ahead) > 0 or self.has_dropped

    @property
    def waits_for_redis(self) -> int:
        """How many tries could not be begun, or ended, because Redis was away; `try_again` does it."""
        return len(self._unprepared) + len(self._unconcluded)

    # -- begin --

    def begin(self, claims: Iterable[Claim], *, asked_at: float, are_old: bool = False) -> None:
        """Start the tries of these claims, made after `asked_at` (CLOCK_BOOTTIME); one that cannot be started has ended.

        Those that may be old wait for `try_again`: a beat must renew their leases first, or say that they were given up.
        """
        for claim in claims:
            log = self._work_dir.take_log()
            try:
                held = Try(claim=claim, folder=self._work_dir.take(), log=log, heard_at=asked_at)
            except OSError as error:
                held = Try(claim=claim, folder=self._work_dir.tries / "none", log=log)
                self.slots.take(held)
                self._end(held, refuse(held, error, self._machine))
                continue
            self.slots.take(held)
            if are_old:
                self._unprepared.append(held)
            else:
                self._start(held)

    def try_again(self) -> None:
        """Do what could not be done while Redis was away."""
        for _ in range(len(self._unprepared)):
            self._start(self._unprepared.popleft())
        for _ in range(len(self._unconcluded)):
            self._conclude(*self._unconcluded.popleft(), closed=True)

    def _start(self, held: Try) -> None:
        try:
            if held.stop:
                self._conclude(held, Ended(id=held.id))
                return
            if self.slots.has_former(held):
                logger.info("try %d of %s waits for the end of the one before", held.claim.try_number, held.claim.task_id,
                            extra=logs.context("former_runs", task_id=held.claim.task_id))
                self._behind.append(held)
                return
            self._preparer.recall(held)
            is_ahead = len(self.slots) > self.slots.size
            if is_ahead and not self._may_wait(held):
                self._drop(held)
                return
            request = self._preparer.request(held)
            entrusting.suit(held, self._shepherd)
        except Awaited:
            if is_ahead:
                self._drop(held)
            else:
                self._awaiting.append(held)
        except LINK_ERRORS:
            self._unprepared.append(held)
        except (RqflowError, OSError) as error:
            self._watch(held)
            self._end(held, refuse(held, error, self._machine))
        except Exception as error:
            logger.exception("a bug in the preparation of %s", held.claim.task_id)
            self._watch(held)
            self._end(held, refuse(held, error, self._machine))
        else:
            if is_ahead:
                request.slots, request.patience = self.slots.size, PATIENCE
                self._ahead.send(held, clock.boottime())
            self._shepherd.start(request)
            if not is_ahead:
                self._watch(held)

    def _may_wait(self, held: Try) -> bool:
        """Tell whether a try may wait with the shepherd: nothing was done for it that must be undone, and no grace runs out meanwhile."""
        return self._shepherd.has_slots and not held.claim.grace and not (held.task and held.task.outputs)

    def _drop(self, held: Try) -> None:
        """Let go of a try that was never begun: it goes back to its queue."""
        self._ahead.settle(held)
        self._ahead.give_up()
        self.slots.drop(held)
        self._work_dir.give_back(held.folder, reuse=held.is_bare)
        self._work_dir.give_back_log(held.log)
        self.has_dropped = True

    def _come_back(self, held: Try) -> None:
        """A try did not get its slot in time."""
        if held.is_watched or held.stop:
            # Somebody wanted it stopped, or took it for begun, because this machine was asleep.
            held.stop = held.stop or Stop.REQUEUED
            self._conclude(held, Ended(id=held.id))
        else:
            self._drop(held)

    def _watch(self, held: Try, *, begun: bool = False) -> None:
        if held.archive and not held.is_watched:
            held.is_watched = True
            self._shipper.watch(held.id, held.log, held.archive, begun=begun)

    def heard(self, named: Iterable[str], sent_at: float) -> None:
        """The hub has renewed the leases of these executions, by a beat sent at `sent_at` (CLOCK_BOOTTIME): put their fences off."""
        fences = {}
        for name in named:
            held = self.slots.get(name)
            if held:
                held.heard_at = sent_at
                fences[name] = self._preparer.fence(held)
        if until := {name: moment for name, moment in fences.items() if moment is not None}:
            self._shepherd.fence(until)

    # -- end --

    def receive(self) -> None:
        """Take in the ends that the shepherd tells."""
        try:
            ended = self._shepherd.receive()
        except ShepherdGone as error:
            logger.warning("%s; starting another one, tasks go on", error.message, extra=logs.context("shepherd_lost"))
            self._meet_again()
            return
        for entry in ended:
            held = self.slots.get(entry.id)
            if held is None:
                self._shepherd.forget([entry.id])
            elif entry.late:
                self._come_back(held)
            else:
                self._conclude(held, entry)

    def _conclude(self, held: Try, ended: Ended, *, closed: bool = False) -> None:
        if told := self.spool.get(held.id):
            # An earlier worker has understood it already.
            held.log_bytes = _size(held.log)
            self._end(held, told)
            return
        try:
            if held.job is None:
                self._preparer.recall(held)
        except LINK_ERRORS:
            self._unconcluded.append((held, ended))
            return
        except (TaskFailed, Refused) as error:
            # What is refused now was not when it began.
            logger.warning("%s; its end is told as it is", error.message, extra=logs.context("run_gone", task_id=held.claim.task_id))
        if self._ahead.settle(held):
            self._watch(held)
        if ended.status is not None:
            self._ahead.learn(ended.ended - ended.started)
        try:
            end = conclude(held, ended, self._machine, closed=closed)
        except Exception as error:
            logger.exception("a bug in the end of %s", held.claim.task_id)
            end = refuse(held, error, self._machine)
        self._end(held, end)

    def _end(self, held: Try, end: End) -> None:
        end = self._preparer.confided.without(held, end)
        self.slots.end(held, end)
        self._parting.end(held, end)

    def stop(self, execution_ids: Iterable[str], why: Stop | None, grace: float, number: int = signal.SIGTERM) -> None:
        """End these tries; `why` None leaves what that means to the operator. The first reason stands, a shorter grace counts.

        They get the signal of this number first, and KILL after `grace` seconds.
        """
        for name in execution_ids:
            held = self.slots.get(name)
            if held:
                held.stop = held.stop or why
                held.kill = (held.stop.value if held.stop else "killed", grace, number)
                self._shepherd.kill(name, *held.kill)

    def begin_anew(self, given_up: Iterable[str], grace: float) -> None:
        """Redis was put right: stop what it has given up meanwhile, and send again what it may have lost of logs."""
        self.stop(given_up, Stop.GIVEN_UP, grace)
        self._shipper.doubt()

    # -- afterwards --

    def let_go(self) -> None:
        """Give back what was not begun because the hub has not answered: it may wait elsewhere."""
        waiting, self._awaiting = self._awaiting, [held for held in self._awaiting if held.is_watched]
        for held in waiting:
            if held.is_watched:
                held.stop = held.stop or Stop.REQUEUED
            else:
                self._drop(held)

    def accept(self, ends: Iterable[End]) -> list[End]:
        """Take note that the broker has these ends; return those that were waiting for it."""
        known = self.slots.accept(ends)
        self._parting.accept([held for held, _ in known])
        return [end for _, end in known]

    def tidy(self) -> None:
        """Do what could wait: part from tries that have ended, start those whose former ones have, send the logs of those that have begun."""
        waiting, self._behind = self._behind, [held for held in self._behind if not held.stop and self.slots.has_former(held)]
        for held in waiting:
            if held not in self._behind:
                self._start(held)
        self._look_for_answers()
        self._parting.tidy()
        for held in self._ahead.begun(clock.boottime()):
            self._watch(held)

    def _look_for_answers(self) -> None:
        """Begin the tries whose secrets are here."""
        waiting, self._awaiting = self._awaiting, []
        for held in waiting:
            if self._preparer.is_answered(held):
                self._start(held)
            else:
                self._awaiting.append(held)
                if self._preparer.has_told(held):
                    self._watch(held)

    def flush(self) -> None:
        """Send the shepherd what it was asked for, if that is due."""
        while True:
            try:
                self._shepherd.flush()
                return
            except ShepherdGone as error:
                logger.warning("%s; starting another one, tasks go on", error.message, extra=logs.context("shepherd_lost"))
                self._meet_again()

    def close(self, patience: float) -> None:
        """Send what logs there are, for at most `patience` seconds, and leave the rest, and what runs, to the shepherd."""
        self._preparer.close()
        self._shipper.drain(patience)
        self._shipper.stop()
        self.tidy()
        try:
            self._shepherd.flush(at_once=True)
        except ShepherdGone:
            logger.warning("the shepherd is gone; tasks go on, and the next worker here watches them", extra=logs.context("shepherd_lost"))
        self._shepherd.close()

    # -- the shepherd and its journal --

    def _meet(self) -> tuple[list[Running], list[Ended]]:
        met = self._shepherd.connect()
        self._shepherd.environment(self._preparer.inherited, self._umask)
        for path in self._holds:
            self._shepherd.hold(path)
        return met

    def _meet_again(self) -> None:
        """After a shepherd died: its successor watches what it started. What neither knows was never started, or is killed and lost."""
        running, ended = self._meet()
        ends = {entry.id: entry for entry in ended}
        # What was let go of while the old one could not hear it any more.
        self._shepherd.forget([name for name in ends if name not in self.slots and name not in self._parting])
        self._parting.tell_accepted()
        known = {entry.id for entry in running}
        waiting = {held.id for held in (*self._unprepared, *self._behind, *self._awaiting, *(held for held, _ in self._unconcluded))}
        for held in self.slots.running():
            if held.id in waiting:
                continue
            if held.id in ends:
                self._conclude(held, ends[held.id])
            elif held.id in known:
                if held.kill:
                    self._shepherd.kill(held.id, *held.kill)
            else:
                left = processes.marked(held.id)
                if left:
                    processes.send(left, processes.KILL)
                    self._conclude(held, Ended(id=held.id, lost=True))
                else:
                    self._start(held)

    def _adopt(self, entry: Running | Ended) -> None:
        """Take over one process of an earlier worker."""
        try:
            held = Try.from_memo(entry.memo)
        except ValueError:
            logger.warning("the shepherd has a process that is none of ours: %s", entry.id, extra=logs.context("adopt_refused"))
            self._shepherd.forget([entry.id])
            return
        if isinstance(entry, Ended) and entry.accepted:
            # Its folder may have been given to another try since.
            held.is_accepted, held.log_bytes = True, _size(held.log)
            if held.log_bytes:
                self._watch(held, begun=True)
            self._parting.keep(held)
            return
        if any(other.log == held.log for other in (*self.slots.running(), *self._parting)):
            # That it was let go of was lost with its shepherd, and a later one has its places.
            held.folder, held.is_bare, held.log, held.archive = self._work_dir.tries / "none", False, self._work_dir.take_log(), ""
        self._watch(held, begun=True)
        self.slots.take(held, adopted=True)
        if isinstance(entry, Ended):
            self._unconcluded.append((held, entry))


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
