"""rq-scheduler with its heart replaced: due work is moved by one atomic step, by one leader, at the millisecond.

Inherited are construction, registration (seen by rq-scheduler's own tools) and keys. The rest of rq-scheduler unpickles
jobs, checks RQ's dependencies again and knows whole seconds only, so all of it is overridden; a test lists what is not.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn

import redis
from rq_scheduler import Scheduler as RQScheduler
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from rqflow import clock, logs
from rqflow.broker import keys, lock, protocol
from rqflow.broker.broker import Broker
from rqflow.broker.faults import Outage
from rqflow.exceptions import BrokerError
from rqflow.sdnotify import NOTIFIER

logger = logging.getLogger(__name__)

#: Redis looks at the time-outs of blocking calls only ten times a second; the rest of a wait is slept here.
BLOCKING_GRAIN = 0.15
#: Longest pause before the first and before any other try to reach Redis.
RECONNECT_PAUSE, RECONNECT_LONGEST = 0.1, 2.0
#: Tasks moved by one call of the atomic step.
BATCH = 500


class Scheduler(RQScheduler):  # type: ignore[misc]  # rq-scheduler has no types
    """Moves delayed work that is due to its queue, while it is the leader."""

    redis_scheduler_namespace_prefix = keys.RQ_SCHEDULER_INSTANCE
    scheduler_key = keys.RQ_SCHEDULER
    scheduler_lock_key = keys.LEADER
    scheduled_jobs_key = keys.RQ_SCHEDULED_JOBS

    def __init__(self, connection: redis.Redis, broker: Broker, *, lock_ttl: timedelta, on_tick: Callable[[], None] = lambda: None) -> None:
        """Prepare a scheduler that leads for `lock_ttl` after its last sign of life; `on_tick` is called when a DAG's alarm rings."""
        super().__init__(connection=connection, interval=lock_ttl.total_seconds())
        self.broker = broker
        self.lock = lock.leader(connection, ttl=lock_ttl)
        self._on_tick = on_tick
        self.is_leader = False
        self._turn = lock_ttl.total_seconds() / 3
        self._told_to_stop = self._may_be_interrupted = False
        self._outage = Outage(logger)

    def run(self, burst: bool = False, before_wait: Callable[[], None] = lambda: None) -> None:
        """Move what is due, for ever, over any loss of Redis; with `burst` once. SIGTERM and SIGINT raise SystemExit here."""
        self._install_signal_handlers()
        try:
            while True:
                self.live_turn(before_wait)
                if burst:
                    return
        finally:
            self.remove_lock()
            self.register_death()

    def _install_signal_handlers(self) -> None:
        """Let SIGTERM and SIGINT end the scheduler where it waits: raised anywhere else, SystemExit may leave a lock held, or get lost."""
        def stop(_number: int, _frame: object) -> None:
            self._told_to_stop = True
            if self._may_be_interrupted:
                raise SystemExit

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Wait in the block; raises SystemExit when a signal comes, or came before."""
        self._may_be_interrupted = True
        try:
            if self._told_to_stop:
                raise SystemExit
            yield
        finally:
            self._may_be_interrupted = False

    def live_turn(self, before_wait: Callable[[], None] = lambda: None) -> None:
        """Do one turn; when Redis is out of reach, wait a moment in its place. `before_wait` is called between work and wait."""
        def tell(state: RetryCallState) -> None:
            self.is_leader = False
            self._outage.note(state.outcome.exception() if state.outcome else None)

        again = Retrying(retry=retry_if_exception_type((redis.exceptions.RedisError, BrokerError)), before_sleep=tell, sleep=self._sleep,
                         wait=wait_random_exponential(multiplier=RECONNECT_PAUSE, max=RECONNECT_LONGEST))
        again(self.turn, before_wait)
        self._outage.over()

    def _sleep(self, seconds: float) -> None:
        with self._waiting():
            NOTIFIER.sleep(seconds)

    def turn(self, before_wait: Callable[[], None] = lambda: None) -> None:
        """As the leader move what is due and wait for the next; else wait for the lock. Raises when Redis fails."""
        self.heartbeat()
        leads = self.acquire_lock()
        due_in = self.enqueue_jobs() if leads else None
        before_wait()
        NOTIFIER.alive()
        longest = min(self._turn, NOTIFIER.pause)
        wait = longest if due_in is None else min(due_in, longest)
        with self._waiting():
            if not leads:
                clock.sleep(longest)
            elif wait > BLOCKING_GRAIN:
                self.broker.wait_wakeup(wait - BLOCKING_GRAIN)
            elif wait > 0:
                clock.sleep(wait)

    def enqueue_jobs(self) -> float | None:
        """Move all that is due, and say so when scheduled runs may be; return the seconds until the next entry is, None when there is none."""
        due = self.broker.move_due(BATCH)
        has_rung = bool(due.ticks)
        while due.moved == BATCH:
            due = self.broker.move_due(BATCH)
            has_rung = has_rung or bool(due.ticks)
        if has_rung:
            self._on_tick()
        return due.next

    def acquire_lock(self) -> bool:
        """Become or stay the leader; return whether we are."""
        before, self.is_leader = self.is_leader, self.lock.hold()
        if self.is_leader != before:
            NOTIFIER.tell(STATUS="leading" if self.is_leader else "standing by")
            logger.info("leading" if self.is_leader else "standing by", extra=logs.context("scheduler_leader", leader=self.is_leader))
        return self.is_leader

    def remove_lock(self) -> None:
        """Stop leading; a lock that cannot be given back ends by itself."""
        self.is_leader = False
        try:
            self.lock.release()
        except redis.exceptions.RedisError as error:
            logger.debug("lock not released: %s", error, extra=logs.context("scheduler_unlock"))

    def heartbeat(self) -> None:
        """Be registered, also after Redis has lost us, and once only: rq-scheduler refuses a birth whose first answer got lost.

        Raises Conflict when our release cannot work with what lives in this Redis.
        """
        if not self.connection.exists(self.key):
            protocol.join(self.connection)
            self.register_birth()
            self.connection.hset(self.key, mapping={"hostname": socket.gethostname(), "pid": os.getpid(), **protocol.about()})
            self.connection.sadd(keys.SCHEDULERS, self.key)
        self.connection.expire(self.key, int(self._interval) + 10)

    def register_death(self) -> None:
        """Leave the register; without Redis our entry ends by itself."""
        try:
            super().register_death()
            self.connection.srem(keys.SCHEDULERS, self.key)
        except redis.exceptions.RedisError as error:
            logger.debug("death not registered: %s", error, extra=logs.context("scheduler_death"))

    def cancel(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: delayed work belongs to its run, which is what people cancel."""
        _refuse("cancel")

    def count(self, until: object = None) -> int:
        """Return how many entries wait; `until` (seconds since the epoch) counts those due by then."""
        return int(self.connection.zcount(self.scheduled_jobs_key, "-inf", "+inf" if until is None else str(until)))

    def __contains__(self, item: object) -> bool:
        """Tell whether the job id `item` waits here."""
        return self.connection.zscore(self.scheduled_jobs_key, str(item)) is not None

    def enqueue_at(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: only runs of DAGs put work here."""
        _refuse("enqueue_at")

    def enqueue_in(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: only runs of DAGs put work here."""
        _refuse("enqueue_in")

    def schedule(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: only runs of DAGs put work here."""
        _refuse("schedule")

    def cron(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: schedules belong to DAGs."""
        _refuse("cron")

    def change_execution_time(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: the delay belongs to the task."""
        _refuse("change_execution_time")

    def enqueue_job(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: the atomic step moves work, never a job by itself."""
        _refuse("enqueue_job")

    def get_jobs(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: the inherited one unpickles."""
        _refuse("get_jobs")

    def get_jobs_to_queue(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: the inherited one unpickles."""
        _refuse("get_jobs_to_queue")

    def get_queue_for_job(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: queues belong to tasks."""
        _refuse("get_queue_for_job")

    def _create_job(self, *_: Any, **__: Any) -> NoReturn:
        _refuse("_create_job")


def _refuse(name: str) -> NoReturn:
    raise NotImplementedError(f"rq-scheduler's {name} is not used in rqflow")
