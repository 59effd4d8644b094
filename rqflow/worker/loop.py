"""The main loop of a worker: one thread that waits for ends, bells, commands and its clock, and speaks to Redis once a turn.

All ends of one turn of the loop are told together with the wish for as many tasks as slots are free, in one round trip. While Redis is
away the loop tries again for ever, and tasks go on; no end is dropped before the broker has it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import select
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import redis

from rqflow import clock, logs
from rqflow.broker.broker import Broker
from rqflow.broker.faults import Outage
from rqflow.broker.messages import ANNOUNCE, End, Ending
from rqflow.exceptions import BrokerError
from rqflow.sdnotify import NOTIFIER
from rqflow.settings import Settings
from rqflow.worker.entrance import Entrance
from rqflow.worker.link import Backoff
from rqflow.worker.listening import Bell, Subscription
from rqflow.worker.outcome import Stop
from rqflow.worker.spool import Spool
from rqflow.worker.tasks import Tasks
from rqflow.worker.wake import Wake

logger = logging.getLogger(__name__)

KEEP, DRAIN, KILL = "keep", "drain", "kill"
#: The longest sleep of the loop, how often a suspended worker looks whether it may go on, and how long it is patient when it ends.
_LONGEST_SLEEP, _SUSPENDED, _PATIENCE = 60.0, 1.0, 5.0
#: Seconds after which RQ's record may change between busy and idle again.
_SHOW_AGAIN = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What this worker was asked to do."""

    queues: tuple[str, ...]
    slots: int
    labels: tuple[str, ...] = ()
    #: End when nothing is ready on the queues and nothing runs here.
    burst: bool = False
    #: End after so many tasks.
    max_tasks: int | None = None
    #: End after so many seconds without a task.
    idle_exit: float | None = None
    #: What SIGTERM does with running tasks.
    on_stop: str = KEEP
    #: Files on which the shepherd keeps a shared lock, as a user of the private Redis.
    holds: tuple[Path, ...] = ()


class Registration(Protocol):
    """RQ's record of this worker."""

    def record(self, running: int) -> bool:
        """Say that the worker lives and how many tasks it runs; tell whether workers are suspended. Raises redis-py's errors."""

    def count_ends(self, ends: Sequence[End]) -> None:
        """Count tasks that have ended."""


class Loop:
    """The loop and what it knows from one turn to the next."""

    def __init__(self, broker: Broker, tasks: Tasks, registration: Registration, entrance: Entrance, options: Options, settings: Settings,
                 is_busy: Callable[[], bool] = lambda: False) -> None:
        """Work with these parts; `listen_for` and `listen_to` give it its threads. While it `is_busy` beside its tasks, it is not idle."""
        self.entrance = entrance
        self._broker, self._tasks, self._registration, self._options, self._is_busy = broker, tasks, registration, options, is_busy
        self._heartbeat = settings.worker.heartbeat.total_seconds()
        self._grace = settings.worker.kill_grace.total_seconds()
        self.wake = Wake()
        self._bell: Bell | None = None
        self._subscription: Subscription | None = None
        self._hint_channel = broker.hint_channel(broker.caller)
        #: What the last beat said that the history has.
        self._recorded: tuple[str, ...] = ()
        self._link, self._outage = Backoff(), Outage(logger)
        self._frontiers: set[str] = set()
        #: There may be work on the queues.
        self._hungry = True
        self._suspended = False
        #: What RQ's record says: whether tasks run, and when that may be said anew.
        self._shown_busy, self._show_at = False, 0.0
        #: How often it was told to stop, and how often it has obeyed.
        self._stop_level, self._obeyed = 0, 0
        #: What it does with running tasks when it is told to stop: --on-stop, unless who tells it says otherwise.
        self._stop_how = options.on_stop
        self._stopping_since = 0.0
        self._beat_at = 0.0
        self._busy_at = clock.monotonic()

    @property
    def _spool(self) -> Spool:
        return self._tasks.spool

    def listen_for(self, bell: Bell) -> None:
        """Take the thread that waits for work."""
        self._bell = bell

    def listen_to(self, subscription: Subscription) -> None:
        """Take the thread that hears commands."""
        self._subscription = subscription

    def request_stop(self) -> None:
        """Stop as --on-stop says; the second time kill what runs. May be called by a signal handler."""
        self._stop_level += 1
        self.wake()

    def request_leave(self) -> None:
        """Stop, and leave what runs to the shepherd, whatever --on-stop says."""
        self._stop_how = KEEP
        self.request_stop()

    def run(self) -> int:
        """Work until told to stop, or until --burst, --max-tasks or idle_exit ends it; return how many tasks were begun."""
        while True:
            NOTIFIER.alive()
            self._wait()
            if self._stop_level > self._obeyed:
                self._obeyed = self._stop_level
                self._begin_stop()
            self._hear()
            self._tasks.receive()
            self._speak()
            self._tasks.tidy()
            self._tasks.flush()
            if len(self._tasks.slots) or self._is_busy():
                self._busy_at = clock.monotonic()
            if self._is_over():
                return self._tasks.slots.claimed

    # -- waiting --

    def pause(self, seconds: float) -> None:
        """Sleep for so long before `run`, or until told to stop."""
        until = clock.monotonic() + seconds
        while not self._stop_level and (left := until - clock.monotonic()) > 0:
            NOTIFIER.alive()
            select.select([self.wake], [], [], min(left, NOTIFIER.pause))
            self.wake.clear()

    def _wait(self) -> None:
        """Sleep until something happens or is due."""
        poll = select.poll()
        poll.register(self.wake, select.POLLIN)
        poll.register(self._tasks, select.POLLIN)
        if any(descriptor == self.wake.fileno() for descriptor, _ in poll.poll(max(self._sleep(), 0.0) * 1000)):
            self.wake.clear()

    def _sleep(self) -> float:
        now = clock.monotonic()
        if self._has_to_speak():
            return self._wait_left()
        due = [max(self._beat_due_at - now, self._wait_left()), self._tasks.flush_at - now, self._tasks.sure_at - clock.boottime(), _LONGEST_SLEEP,
               NOTIFIER.pause]
        if self._options.idle_exit is not None:
            due.append(self._busy_at + self._options.idle_exit - now)
        if self._stop_level:
            due.append(_PATIENCE)
        if self._shown_busy != bool(len(self._tasks.slots)):
            due.append(max(self._show_at - now, self._wait_left()))
        return min(due)

    def _wait_left(self) -> float:
        """Return for how many seconds Redis is left alone, because its link is broken or it does not give work."""
        return max(self._link.left(), self.entrance.left())

    def _has_to_speak(self) -> bool:
        """Tell whether Redis is to be told or asked something now."""
        if self._frontiers or self._tasks.waits_for_redis or self._tasks.slots.has_ends or self.entrance.is_outside:
            return True
        return self._hungry and self._wanted() > 0

    def _wanted(self) -> int:
        """Return how many tasks to claim."""
        if self._stop_level or self._suspended or self._tasks.waits_for_redis:
            return 0
        return self._tasks.room

    @property
    def _beat_due_at(self) -> float:
        """When the next heartbeat is due: at once where one must say what is not held any more."""
        return 0.0 if self._tasks.has_dropped else self._beat_at

    # -- Redis --

    def _speak(self) -> None:
        """Say and ask what is due; when the link breaks, leave it for later."""
        if self._wait_left() > 0:
            return
        try:
            if self.entrance.is_outside and not self._enter():
                return
            if clock.monotonic() >= self._beat_due_at:
                self._beat()
            if self._tasks.waits_for_redis:
                self._tasks.try_again()
            if self._has_to_speak():
                self._turn()
            if self._shown_busy != bool(len(self._tasks.slots)) and clock.monotonic() >= self._show_at:
                self._record()
            self._link.reset()
            self._outage.over()
        except (redis.exceptions.RedisError, BrokerError) as error:
            self._link.next()
            self._hungry = True
            self._spool.add(self._tasks.slots.ends())
            self._spool.sync()
            self._outage.note(error)

    def _enter(self) -> bool:
        """Say what is held here; False when that must wait."""
        is_heard, given_up, frontiers = self.entrance.enter()
        if is_heard:
            self._tasks.begin_anew(given_up, self._grace)
        self._frontiers.update(frontiers)
        self._hungry = True
        return is_heard

    def _turn(self) -> None:
        """Tell all ends, claim for all free slots, start what was claimed."""
        wanted = self._wanted()
        ends = self._tasks.slots.ends()
        self._spool.add(ends)
        self._spool.flush()
        turn = self._broker.turn(queues=self._options.queues, labels=self._options.labels, wanted=wanted, ends=ends)
        self.entrance.heed(turn.closed)
        self._tasks.begin(turn.claims, asked_at=turn.asked_at, are_old=turn.was_repeated)
        if turn.claims and turn.was_repeated:
            self._beat_at = 0.0
        # What waits for its start comes before what is to be tidied up.
        self._tasks.flush()
        # The answer may be to an earlier turn, asked again; whoever was not in it is told next.
        self._registration.count_ends(self._tasks.accept(turn.ends))
        self._hungry = self._link.failing or bool(turn.closed)
        self._frontiers.update(turn.unfinished)
        for run_key in list(self._frontiers):
            # What an end set free beyond one call's limit; new tasks may be ready afterwards.
            self._hungry = True
            if not self._broker.advance(run_key):
                self._frontiers.discard(run_key)
        if self._bell:
            # Who has no free slot leaves the bell to others, although it may claim ahead.
            self._bell.listen(self._tasks.slots.room() > 0 and self._wanted() > 0 and not self._hungry)

    def _beat(self) -> None:
        """Renew the leases of all that is held here, learn what must be stopped, and look for work that nobody rang for."""
        begun_at = clock.monotonic()
        self._tasks.has_dropped = False
        named, sent_at = self._tasks.slots.named(), clock.boottime()
        beat = self._broker.beat(named, recorded=self._recorded)
        # Only now: one that failed is due again at once, for it may have been a hint that asked for it.
        self._beat_at = begun_at + self._heartbeat
        self._recorded = beat.recorded
        self._spool.drop(beat.recorded)
        self._spool.flush()
        if beat.closed == ANNOUNCE:
            self.entrance.heed(beat.closed)
        for name in beat.cancel:
            how = beat.how.get(name, Ending())
            self._tasks.stop([name], Stop.CANCELLED, self._grace if how.grace is None else how.grace, how.number)
        self._tasks.stop(beat.given_up, Stop.GIVEN_UP, self._grace)
        self._tasks.heard(named.keys() - {*beat.given_up, *beat.unknown}, sent_at)
        for name in beat.unknown:
            context = logs.context("execution_unknown", execution_id=name)
            logger.warning("Redis does not count %s as ours; it goes on, and its end is kept as history of its try", name, extra=context)
        self._record()
        self._hungry = True

    def _record(self) -> None:
        """Bring RQ's record up to date; learn whether workers are suspended."""
        running = len(self._tasks.slots)
        suspended = self._registration.record(running)
        self._shown_busy, self._show_at = running > 0, clock.monotonic() + _SHOW_AGAIN
        if suspended != self._suspended:
            logger.info("suspended" if suspended else "resumed", extra=logs.context("suspended" if suspended else "resumed"))
        self._suspended = suspended
        if suspended:
            self._beat_at = clock.monotonic() + min(self._heartbeat, _SUSPENDED)

    # -- commands --

    def _hear(self) -> None:
        """Take in bells and commands."""
        if self._bell and self._bell.rang():
            self._hungry = True
        for channel, data in self._subscription.take() if self._subscription else ():
            if channel == self._hint_channel:
                self._beat_at = 0.0
                continue
            try:
                payload = json.loads(data)
            except ValueError:
                payload = None
            if isinstance(payload, dict):
                self.command(payload)
            else:
                logger.warning("a command that is no JSON object was ignored", extra=logs.context("command_refused"))

    def command(self, payload: Mapping[str, Any]) -> None:
        """Carry out a command that RQ's tools sent."""
        name = payload.get("command")
        running = self._tasks.slots.running()
        logger.info("received the command %s", name, extra=logs.context("command", command=name))
        if name == "shutdown":
            self._stop_how = how if (how := str(payload.get("how", ""))) in {KEEP, DRAIN, KILL} else self._stop_how
            self.request_stop()
        elif name == "stop-job":
            found = [held.id for held in running if held.claim.job_id == payload.get("job_id")]
            self._tasks.stop(found, Stop.STOPPED, self._grace)
        elif name == "stop-execution":
            self._tasks.stop([str(payload.get("execution_id"))], Stop.STOPPED, self._grace)
        elif name == "kill-horse":
            self._tasks.stop([held.id for held in running], None, self._grace)

    # -- the end --

    @property
    def is_empty_handed(self) -> bool:
        """Whether nothing is held here, and nothing left to be told."""
        return not (len(self._tasks.slots) or self._tasks.slots.has_ends or len(self._spool) or self.entrance.is_outside)

    @property
    def leaving(self) -> str:
        """How it ends, now that it was told to: draining, or stopping; empty: it was not."""
        return "" if not self._obeyed else "draining" if self._obeyed == 1 and self._stop_how == DRAIN else "stopping"

    @property
    def linked_since(self) -> datetime:
        """Since when the link to Redis has held."""
        return self._link.since

    @property
    def is_in_a_hurry(self) -> bool:
        """Whether it was told to stop more than once."""
        return self._stop_level > 1

    def ask_what_is_recorded(self) -> None:
        """Let the spool go as far as the history has it, before the worker leaves."""
        with contextlib.suppress(redis.exceptions.RedisError, BrokerError):
            if len(self._spool) and not self.entrance.is_outside and not self._link.failing:
                self._beat()

    def _begin_stop(self) -> None:
        """Obey SIGTERM, by --on-stop the first time, by killing the second."""
        self._stopping_since = clock.monotonic()
        if self._bell:
            # Bells are for others from now on.
            self._bell.listen(False)
        how = KILL if self._obeyed > 1 else self._stop_how
        self._tasks.let_go()
        self._show_at, self._shown_busy = 0.0, not len(self._tasks.slots)
        logger.info("stopping: %s", how, extra=logs.context("stopping", how=how, running=len(self._tasks.slots)))
        if how == KILL:
            self._tasks.stop([held.id for held in self._tasks.slots.running()], Stop.REQUEUED, 0.0 if self._obeyed > 1 else self._grace)

    def _is_over(self) -> bool:
        """Tell whether the loop may end."""
        if self._stop_level > self._obeyed:
            return False
        slots = self._tasks.slots
        told = not slots.has_ends and not self._frontiers and not self._tasks.waits_for_redis and not self._tasks.is_unsure
        if self._obeyed:
            # What cannot be told now is in the shepherd's journal.
            may_leave = told or self._link.failing or self.entrance.is_waiting
            if self._obeyed == 1 and self._stop_how == KEEP:
                return may_leave or clock.monotonic() - self._stopping_since > _PATIENCE
            # Told twice to stop, it leaves what is still to be begun or understood, too.
            return may_leave and len(slots) == (self._tasks.waits_for_redis if self._obeyed > 1 else 0)
        if len(slots) or not told or self._is_busy():
            return False
        return slots.spent or self._has_had_enough()

    def _has_had_enough(self) -> bool:
        """Tell whether a worker without tasks ends, by --burst or idle_exit."""
        if self._options.burst and (self._suspended or not self._hungry):
            return True
        return self._options.idle_exit is not None and clock.monotonic() - self._busy_at >= self._options.idle_exit
