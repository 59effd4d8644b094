"""Tries that have ended here, until the broker has their ends and the archive their logs: then their places are others'."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from rqflow import logs
from rqflow.broker.messages import End
from rqflow.states import TaskState
from rqflow.worker.logship import LogShipper
from rqflow.worker.removals import Removals
from rqflow.worker.shepherd_client import ShepherdClient
from rqflow.worker.tries import Try
from rqflow.worker.workdir import WorkDir

logger = logging.getLogger(__name__)


class Parting:
    """The tries whose log, or end, is still on its way."""

    def __init__(self, work_dir: WorkDir, shepherd: ShepherdClient, shipper: LogShipper) -> None:
        """Give places back to `work_dir`, and tell `shepherd` and `shipper` how far each is."""
        self._work_dir, self._shepherd, self._shipper = work_dir, shepherd, shipper
        self._tries: dict[str, Try] = {}
        self._removals = Removals()
        #: Those of which nothing was done yet but that they have ended.
        self._over: list[tuple[Try, End]] = []

    def __contains__(self, execution_id: object) -> bool:
        """Tell whether this try is still parting."""
        return execution_id in self._tries

    def __iter__(self) -> Iterator[Try]:
        """Give those whose log is under way."""
        return iter(self._tries.values())

    def end(self, held: Try, end: End) -> None:
        """A try has ended. What follows from it here can wait until the next task has begun: `tidy` does it."""
        self._over.append((held, end))

    def keep(self, held: Try) -> None:
        """Keep a try whose log is complete now until it is archived, and its end accepted."""
        self._tries[held.id] = held
        if held.is_watched:
            self._shipper.finish(held.id, held.log_bytes)
        else:
            held.is_archived = True
        self._let_go([held])

    def accept(self, tries: Iterable[Try]) -> None:
        """The broker has the ends of these: their folders are free."""
        accepted = list(tries)
        for held in accepted:
            held.is_accepted = True
            self._work_dir.give_back(held.folder, reuse=held.is_bare and not held.inhabited)
            if held.account:
                self._removals.add(held.account, held.place)
        self._shepherd.accepted([held.id for held in accepted])
        self._let_go(accepted)

    def tell_accepted(self) -> None:
        """Tell a shepherd that is new whose ends the broker has."""
        self._shepherd.accepted([held.id for held in self if held.is_accepted])

    def tidy(self) -> None:
        """Say which tries have ended, let their logs go on their way, and let go of those whose logs have arrived."""
        over, self._over = self._over, []
        for held, end in over:
            self.keep(held)
            _say(held, end)
        arrived = [self._tries[name] for name in self._shipper.archived() if name in self._tries]
        for held in arrived:
            held.is_archived = True
        self._let_go(arrived)

    def _let_go(self, tries: Iterable[Try]) -> None:
        done = [held for held in tries if held.is_accepted and held.is_archived]
        for held in done:
            del self._tries[held.id]
            self._work_dir.give_back_log(held.log)
        if done:
            self._shepherd.forget([held.id for held in done])


def _say(held: Try, end: End) -> None:
    """Tell of an end in the log of this process."""
    level = logging.INFO if end.state in {TaskState.SUCCESS, TaskState.SKIPPED} else logging.WARNING
    if logger.isEnabledFor(level):
        context = logs.context("try_ended", dag_id=end.dag_id, task_id=held.claim.task_id, try_number=end.try_number, state=end.state.value)
        reason = f": {end.reason}" if end.reason else ""
        logger.log(level, "%s.%s try %d %s after %.1f s%s", end.dag_id, held.claim.task_id, end.try_number, end.state.value, end.duration, reason,
                   extra=context)
