"""The worker: RQ's class with rqflow's loop in it. Registered, counted and commanded like any RQ worker, `rq info` shows it.

Of RQ's own work only registration is kept. Jobs are claimed by Lua steps, never popped; they run under the shepherd, never in a forked
horse; nothing of RQ's maintenance runs, because rqflow's state is the truth and RQ's registries are a picture of it.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import FrameType
from typing import Any, Unpack

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import worker as rq_worker
from rq.command import parse_payload
from rq.serializers import JSONSerializer
from rq.suspension import WORKERS_SUSPENDED
from rq.utils import now, utcformat
from rq.worker.base import WorkerStatus

from rqflow import clock, logs, process, runtime
from rqflow import settings as configuration
from rqflow.broker import protocol, standing
from rqflow.broker.broker import Broker
from rqflow.broker.faults import LINK_ERRORS, Outage
from rqflow.broker.keys import CALLBACKS, HALTED_WORKERS, HEARD
from rqflow.broker.logstream import LogStream
from rqflow.broker.messages import End
from rqflow.broker.names import machine_of
from rqflow.sdnotify import NOTIFIER
from rqflow.settings import Settings
from rqflow.states import TaskState
from rqflow.worker import environment, identity
from rqflow.worker.admission import Admission
from rqflow.worker.callbacks import Callbacks
from rqflow.worker.conclude import Machine
from rqflow.worker.desk import Desk
from rqflow.worker.entrance import Entrance
from rqflow.worker.heritage import Heritage
from rqflow.worker.inquiries import Inquiries
from rqflow.worker.link import Backoff
from rqflow.worker.listening import Bell, Subscription
from rqflow.worker.logship import LogShipper
from rqflow.worker.loop import Loop, Options
from rqflow.worker.options import Asked, options_of, usual_work_dir, words, work_dir_of
from rqflow.worker.prepare import Preparer
from rqflow.worker.shepherd_client import ShepherdClient
from rqflow.worker.slots import Slots
from rqflow.worker.tasks import Tasks
from rqflow.worker.vitals import Vitals
from rqflow.worker.workdir import WorkDir

logger = logging.getLogger(__name__)

#: Seconds for which logs are sent after the last task, before the worker ends.
_LAST_LOGS = 5.0
#: Seconds that a thread is given to notice that its connection was cut.
_HANG_UP = 5.0


class Worker(rq_worker.Worker):
    """One process that runs up to `slots` tasks at a time under its shepherd.

    Made by `from_settings`, or by RQ's own command `rq worker -w rqflow.worker.Worker --serializer json`, which then reads the settings
    itself.
    """

    def __init__(self, queues: Any, name: str | None = None, *args: Any, **kwargs: Any) -> None:
        """Take what RQ's tools give; a `name` is only heeded for a worker that is looked at, not for one that works."""
        kwargs["serializer"] = kwargs.get("serializer") or JSONSerializer
        super().__init__(queues, name, *args, **kwargs)
        self.log = logger
        self._settings: Settings | None = None
        self._asked: Asked = {}
        self._loop: Loop | None = None
        self._stops_before_the_loop = 0
        #: Whether somebody, and not idleness or --burst, ends this worker.
        self.was_told_to_stop = False
        self._counted = {"successful_job_count": 0, "failed_job_count": 0}
        self._worked = 0.0
        self._options: Options | None = None
        self._admission = Admission(None)
        self._vitals: Vitals | None = None
        self._inquiries: Inquiries | None = None
        self._callbacks: Callbacks | None = None
        self._subscription: Subscription | None = None

    @classmethod
    def from_settings(cls, connection: redis.Redis, settings: Settings, **asked: Unpack[Asked]) -> Worker:
        """Return a worker; nothing is done before `work`. Raises ConfigError for options that cannot be."""
        queues = list(asked.get("queues") or words(settings.worker.queues))
        worker = cls(queues, connection=connection, prepare_for_work=False)
        worker._settings, worker._asked = settings, asked
        worker._options = options_of(settings, queues, asked)
        return worker

    # -- what RQ calls --

    def work(self, burst: bool = False, logging_level: str | None = None, *args: Any, max_jobs: int | None = None,
             max_idle_time: int | None = None, with_scheduler: bool = False, **kwargs: Any) -> bool:  # fmt: skip
        """Work until told to stop; True when any task was begun.

        Raises Conflict when another worker uses the work_dir, ConfigError when it cannot be used.
        """
        if args or kwargs.get("dequeue_strategy", "default") != "default":
            logger.warning("rqflow's worker takes the best task of each queue in their order; other strategies are not known")
        if with_scheduler:
            logger.warning("RQ's scheduler is not needed: `rqflow scheduler` does its work")
        if self._settings is None or self._options is None:
            self._settings = configuration.load()
            _log_to_stderr(logging_level)
            asked = Asked(burst=burst, max_tasks=max_jobs, idle_exit=timedelta(seconds=max_idle_time) if max_idle_time else None)
            self._options = options_of(self._settings, self.queue_names(), asked)
            self._asked = asked
        work_dir = WorkDir(work_dir_of(self._settings, self._asked))
        work_dir.hold()
        try:
            return self._work(work_dir, self._settings, self._options)
        finally:
            work_dir.release()

    def request_stop(self, signum: int | None = None, frame: FrameType | None = None) -> None:  # noqa: ARG002 (RQ's signature)
        """Stop as --on-stop says; the second time, kill what runs and stop."""
        self.was_told_to_stop = True
        if self._loop:
            self._loop.request_stop()
        else:
            self._stops_before_the_loop += 1

    request_force_stop = request_stop

    def request_leave(self) -> None:
        """Stop, and leave what runs to the shepherd, whatever --on-stop says."""
        if self._loop:
            self.was_told_to_stop = True
            self._loop.request_leave()
        else:
            self.request_stop()

    def handle_payload(self, message: Mapping[str, Any]) -> None:
        """Carry out a command of RQ's tools: stop-job and stop-execution for any slot, kill-horse for all, shutdown."""
        if self._loop:
            self._loop.command(parse_payload(dict(message)))

    def subscribe(self) -> None:
        """Hear commands and hints, over a connection that is mended for ever."""
        if self._loop:
            channels = [self.pubsub_channel_name, self._broker().hint_channel(self.name)]
            self._subscription = Subscription(self.connection, channels, self._loop.wake)
            self._subscription.start()
            self._loop.listen_to(self._subscription)

    def unsubscribe(self) -> None:
        """Hear no more."""
        if self._subscription:
            self._subscription.stop()

    def clean_registries(self) -> None:
        """Do nothing: RQ's registries follow rqflow's state."""

    def run_maintenance_tasks(self) -> None:
        """Do nothing, for the same reason."""

    def kill_horse(self, sig: signal.Signals = signal.SIGKILL) -> None:  # noqa: ARG002 (RQ's signature)
        """End what runs; there is no horse."""
        if self._loop:
            self._loop.command({"command": "kill-horse"})

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Say that this worker lives, in RQ's record; leases are renewed by the broker's own beat."""
        timeout = timeout or self.worker_ttl + 60
        connection = self.connection if pipeline is None else pipeline
        self.last_heartbeat = now()
        connection.hset(self.key, mapping={"last_heartbeat": utcformat(self.last_heartbeat), "state": self.get_state()})
        connection.expire(self.key, timeout)
        connection.expire(self.executions_key, timeout)

    def _set_ip_address(self, connection: redis.Redis) -> None:
        """Note the address of our connection as RQ does; redis-py does not understand one with a blank, as that of a private Redis may have."""
        try:
            super()._set_ip_address(connection)
        except ValueError:
            self.ip_address = "unix socket"

    def _set_connection(self, connection: redis.Redis) -> redis.Redis:
        """Leave timeouts short, where RQ would lift them to seven minutes, and let nobody but us repeat a call."""
        options = connection.connection_pool.connection_kwargs
        if options.get("socket_timeout") is None:
            options["socket_timeout"] = 10.0
            options["retry"] = Retry(NoBackoff(), 0)
        return connection

    # -- what the loop calls --

    def record(self, running: int) -> bool:
        """Bring RQ's record of this worker up to date; tell whether `rq suspend` holds all workers, or a person this one."""
        if self._vitals:
            self._vitals.compare(self.connection)
        if self.get_state() != WorkerStatus.SUSPENDED:
            self._state = WorkerStatus.BUSY if running else WorkerStatus.IDLE
        with self.connection.pipeline() as pipe:
            pipe.exists(self.key)
            self.heartbeat(pipeline=pipe)
            self._tell_vitals(pipe)
            if any(self._counted.values()):
                # The whole sum: said again when an answer was lost, it is the same.
                sums = {**self._counted, "total_working_time": self._worked}
                pipe.hset(self.key, mapping={name: str(number) for name, number in sums.items()})
            pipe.exists(WORKERS_SUSPENDED)
            pipe.hexists(HALTED_WORKERS, self._machine)
            pipe.exists(CALLBACKS + self._machine)
            known, *_, all_suspended, halted, called = pipe.execute()
            suspended = all_suspended or halted
        if called and self._callbacks:
            self._callbacks.look(self._broker())
        if not known:
            # Redis was away for longer than it remembers workers.
            self._register()
        state = WorkerStatus.SUSPENDED if suspended else WorkerStatus.BUSY if running else WorkerStatus.IDLE
        if state != self.get_state():
            self.set_state(state)
        return bool(suspended)

    def count_ends(self, ends: Sequence[End]) -> None:
        """Count ends for RQ's record, which has the sums of this process: its name is ours alone."""
        for end in ends:
            good = end.state in {TaskState.SUCCESS, TaskState.SKIPPED}
            self._counted["successful_job_count" if good else "failed_job_count"] += 1
            self._worked += end.duration

    # -- own --

    def _work(self, work_dir: WorkDir, settings: Settings, options: Options) -> bool:
        own = identity.name_of(settings.home, socket.gethostname(), work_dir, usual_work_dir(settings))
        self.name = f"{own}.{secrets.token_hex(3)}"
        self.hostname, self.pid = socket.gethostname(), os.getpid()
        work_dir.keep_program()
        self._vitals = Vitals(work_dir.path)
        self.worker_ttl = max(int(settings.worker.lease.total_seconds()), 1)
        self._catch_signals()
        admission = self._admission = Admission.of(settings, options.queues)
        broker = self._broker(alone=True)
        broker.machine = self._machine
        environ = configuration.environment()
        preparer = Preparer(broker, settings, work_dir, environ, admission)
        preparer.ask_hub(self._broker().connection, self._machine, lambda: loop.wake())
        self._inquiries = preparer.outside.inquiries
        preparer.accounts.check(settings.security)
        if preparer.accounts.runs_as_root:
            logger.warning("tasks run as root: set worker.run_as, or start the worker under another account", extra=logs.context("tasks_as_root"))
        linger = settings.worker.shepherd_linger.total_seconds()
        shepherd = ShepherdClient(work_dir.path, env=preparer.inherited, linger=linger, program=work_dir.program)
        machine = Machine(socket.gethostname(), process.boot_id())
        slots = Slots(options.slots, options.max_tasks)
        shipper = LogShipper(LogStream(self.connection), settings, lambda: loop.wake(), confided=preparer.confided)
        tasks = Tasks(work_dir, shepherd, preparer, shipper, slots, machine)
        entrance = Entrance(broker, slots, tasks.spool, options.queues)
        desk = preparer.desk = Desk(work_dir, lambda: self._broker().connection, preparer.outside.keyring,
                                    lambda name: slots.get(name) is not None or callbacks.holds(name))
        callbacks = self._callbacks = Callbacks(self._broker, self._machine, settings, work_dir, environ, lambda: loop.wake(), admission, desk)
        loop = self._loop = Loop(broker, tasks, self, entrance, options, settings, lambda: callbacks.is_busy)
        bell = Bell(self._broker(), options.queues, loop.wake)
        tasks.connect(umask=environment.umask(), holds=options.holds)
        desk.open_again()
        entrance.inherit(Heritage(broker, work_dir, machine.boot))
        shipper.start()
        self._register_patiently(loop)
        self.subscribe()
        bell.start()
        loop.listen_for(bell)
        logger.info("worker %s serves %s with %d slots", self.name, ", ".join(options.queues), options.slots, extra=logs.context("worker_started"))
        runtime.settle()
        NOTIFIER.ready(f"serves {', '.join(options.queues)} with {options.slots} slots")
        for _ in range(self._stops_before_the_loop):
            loop.request_stop()
        try:
            return loop.run() > 0
        finally:
            NOTIFIER.stopping()
            bell.stop()
            callbacks.close(lambda: loop.is_in_a_hurry)
            self.unsubscribe()
            tasks.close(_LAST_LOGS)
            desk.close()
            loop.ask_what_is_recorded()
            self._sign_off(broker if loop.is_empty_handed else None)
            self._hang_up(bell, preparer.outside.inquiries)

    def _hang_up(self, bell: Bell, inquiries: Inquiries | None) -> None:
        """Cut the connections on which threads wait, and see the threads end.

        One that still held a lock of the connection pool when the interpreter ends would keep it from ending.
        """
        self.connection.connection_pool.disconnect()
        for listener in (bell, self._subscription, inquiries):
            if listener:
                listener.join(_HANG_UP)

    def _broker(self, *, alone: bool = False) -> Broker:
        """Return a broker for one thread. Connections come from the pool at each call; `alone` keeps one, which halves redis-py's share.

        That one is opened here; where Redis is away just now, there is none to keep, and the pool serves as well.
        """
        assert self._settings is not None
        pool = self.connection.connection_pool
        try:
            connection = redis.Redis(connection_pool=pool, single_connection_client=alone)
        except LINK_ERRORS as error:
            logger.debug("no connection to keep: %s", error, extra=logs.context("link_not_kept"))
            connection = redis.Redis(connection_pool=pool)
        return self._admission.guard(Broker(connection, self._settings, caller=self.name))

    @property
    def _machine(self) -> str:
        """What this worker is called over its restarts."""
        return machine_of(self.name)

    def _tell_vitals(self, connection: redis.Redis) -> None:
        """Add to RQ's record how this worker fares, and keep what it is for when that is gone."""
        if self._vitals and self._options:
            leaving, since = (self._loop.leaving, self._loop.linked_since) if self._loop else ("", clock.utcnow())
            connection.hset(self.key, mapping=self._vitals.fields(leaving, since, self._inquiries.awaited() if self._inquiries else {}))
            connection.hset(HEARD, self._machine, standing.heard(
                self._vitals.now(), pid=self.pid or 0, name=self.name, host=self.hostname or "", queues=self._options.queues,
                labels=self._options.labels, slots=self._options.slots, version=protocol.release()))

    def _catch_signals(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self.request_stop)

    def _register(self) -> None:
        options = self._options
        assert options is not None
        self._broker().join()
        self._set_ip_address(self.connection)
        # The name is ours alone: what has it is our own record, half made or begun anew by a heartbeat, and RQ would refuse us for it.
        self.connection.delete(self.key)
        self.register_birth()  # type: ignore[no-untyped-call]
        if self._vitals:
            self._vitals.compare(self.connection)
            self._tell_vitals(self.connection)
        self._broker().announce(self.name, slots=options.slots, labels=options.labels)

    def _register_patiently(self, loop: Loop) -> None:
        """Register with RQ, for as long as it takes, or until told to stop."""
        backoff, outage = Backoff(), Outage(logger)
        while True:
            try:
                self._register()
                outage.over()
                return
            except redis.exceptions.RedisError as error:
                if self.was_told_to_stop:
                    return
                outage.note(error)
                loop.pause(backoff.next())

    def _sign_off(self, broker: Broker | None) -> None:
        """Leave RQ's records; `broker` is given when nobody need wait for this worker after a loss of Redis."""
        try:
            if broker:
                broker.leave(self.queue_names())
            self.record(0)
            self.register_death()  # type: ignore[no-untyped-call]
            standing.forget(self._broker(), self._machine)
            self._broker().forget_replies()
        except redis.exceptions.RedisError as error:
            logger.warning("Redis does not know that this worker ended, and forgets it after %d s; nothing is lost, its tasks are told by the next "
                           "worker on this work_dir: %s", self.worker_ttl + 60, error, extra=logs.context("worker_ended"))


def _log_to_stderr(level: str | None) -> None:
    """Show what we say when nobody has set up logging: under RQ's own command."""
    if not logging.getLogger().handlers and not logging.getLogger(logs.LOGGER_NAME).handlers:
        logs.setup({"DEBUG": 1, "WARNING": -1}.get(level or "", 0))
