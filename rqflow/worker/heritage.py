"""What earlier workers on a work_dir left with the broker: claims under their names, which are the present worker's now."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from rqflow import logs
from rqflow.broker.broker import Broker
from rqflow.worker.workdir import WorkDir

logger = logging.getLogger(__name__)


class Heritage:
    """The workers that are still to be followed, the oldest first."""

    def __init__(self, broker: Broker, work_dir: WorkDir, boot: str) -> None:
        """Write the name of the present worker, the broker's caller, into the work_dir; `boot` names this boot of the machine."""
        self._broker = broker
        self._work_dir = work_dir
        self._formers = work_dir.add_name(broker.caller, boot)

    def enter_upon(self, executions: Iterable[str]) -> None:
        """Take over `executions`, which the shepherd has; what it has not never started, or is lost when the machine was restarted since.

        Raises BrokerError when Redis does not answer; called again it goes on with the rest.
        """
        while self._formers:
            former = self._formers[0]
            taken, left = self._broker.take_over(former.name, executions, is_lost=former.is_of_another_boot)
            if taken or left:
                what = "lost" if former.is_of_another_boot else "never started and given back"
                logger.info("followed %s: %d tasks go on, %d %s", former.name, taken, left, what, extra=logs.context("followed", former=former.name))
            self._work_dir.forget_name(former.name)
            self._formers.pop(0)
