"""The processes of one hub in one: the scheduler's turns, and beside them, in threads, its chores (recorder, log archive, tidying)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import redis

from rqflow import clock, logs, runtime
from rqflow.broker.broker import Broker
from rqflow.broker.events import EventStream
from rqflow.broker.sources import forget_libraries
from rqflow.exceptions import RqflowError
from rqflow.recorder.loop import keep_running
from rqflow.scheduler.epoch import EpochKeeper
from rqflow.scheduler.recovery import Recovery
from rqflow.scheduler.scheduler import Scheduler
from rqflow.sdnotify import NOTIFIER
from rqflow.store.engine import Engine

logger = logging.getLogger(__name__)

#: Seconds between two looks whether the hub is idle.
IDLE_LOOK = 0.5
#: Seconds between two rounds of tidying, and how often one round looks for runs to forget, some at a time: many short ones may end at once.
TIDY_EVERY, FORGET_ROUNDS = 5.0, 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Chore:
    """Something that a hub does all the time: `run` works, over all failures, until the event that it gets is set."""

    name: str
    run: Callable[[threading.Event], None]
    #: False: every scheduler does it, standby or not.
    leader_only: bool = True


class Hub:
    """A scheduler and its chores."""

    def __init__(self, scheduler: Scheduler, chores: Sequence[Chore], *, idle_exit: timedelta | None = None,
                 is_idle: Callable[[], bool] = lambda: True) -> None:
        """Put them together; with `idle_exit` the hub ends after having been idle that long by `is_idle`."""
        self._scheduler = scheduler
        self._chores = chores
        self._idle_exit = idle_exit
        self._is_idle = is_idle
        self._running: dict[str, tuple[threading.Thread, threading.Event]] = {}
        self._busy_at = clock.monotonic()
        self._looked_at = 0.0

    def run(self) -> None:
        """Work until idle for long enough, or until SIGTERM or SIGINT (SystemExit), over any loss of Redis or database."""
        runtime.settle()
        self._scheduler._install_signal_handlers()  # noqa: SLF001 - rq-scheduler's own name; Scheduler.run would never give a turn to us
        NOTIFIER.ready("begins")
        try:
            while not self._idle_for_long():
                self._scheduler.live_turn(before_wait=self._staff)
        finally:
            NOTIFIER.stopping()
            self._dismiss(self._chores)
            self._scheduler.remove_lock()
            self._scheduler.register_death()

    def _staff(self) -> None:
        """Start the chores that are ours now, stop those that are not."""
        ours = [chore for chore in self._chores if self._scheduler.is_leader or not chore.leader_only]
        self._dismiss([chore for chore in self._chores if chore not in ours])
        for chore in ours:
            if chore.name not in self._running:
                stop = threading.Event()
                thread = threading.Thread(target=chore.run, args=(stop,), name=chore.name, daemon=True)
                self._running[chore.name] = (thread, stop)
                thread.start()

    def _dismiss(self, chores: Sequence[Chore]) -> None:
        """Stop `chores` and wait for their end."""
        leaving = [self._running.pop(chore.name) for chore in chores if chore.name in self._running]
        for _, stop in leaving:
            stop.set()
        for thread, _ in leaving:
            thread.join(timeout=10)

    def _idle_for_long(self) -> bool:
        """Tell whether nothing has happened for idle_exit."""
        now = clock.monotonic()
        if self._idle_exit is None or now - self._looked_at < IDLE_LOOK:
            return False
        self._looked_at = now
        try:
            idle = self._is_idle()
        except (redis.exceptions.RedisError, RqflowError) as error:
            logger.debug("cannot tell whether there is work: %s", error, extra=logs.context("idle_unknown"))
            idle = False
        if not idle:
            self._busy_at = now
        return now - self._busy_at >= self._idle_exit.total_seconds()


def recovering(broker: Broker, engine: Engine) -> Chore:
    """Return the chore that mends what dead or unreachable processes left, and what Redis lost; `broker` is its own."""
    return Chore(name="recovery", run=lambda stop: Recovery(broker, EpochKeeper(broker, engine)).run(stop))


def tidying(broker: Broker) -> Chore:
    """Return the chore that removes what is over: recorded runs, readers of events, the Lua of other releases."""

    def run(stop: threading.Event) -> None:
        def step() -> None:
            tidy(broker)
            stop.wait(TIDY_EVERY)

        keep_running(step, stop, name="tidying")

    return Chore(name="tidying", run=run)


def tidy(broker: Broker) -> None:
    """Do one round of tidying."""
    EventStream(broker.connection).forget_readers()
    forget_libraries(broker.connection)
    for _ in range(FORGET_ROUNDS):
        expired = broker.expired_runs()
        for run_key in expired:
            broker.forget_run(run_key)
            logger.debug("forgot run %s", run_key, extra=logs.context("run_forgotten", run_key=run_key))
        if not expired:
            return
