"""One try of a task inside the forked horse of a stock `rq worker`.

The task is a direct child of the horse and dies with it; there is no shepherd, no slot, no next worker to take it over. Claim, end and
heartbeats are the broker's, as everywhere. It has no spool either: while a hub records, the horse stays until the history has the end, and
tells it again to a Redis that has lost it. It leaves by os._exit(0): RQ's worker then does nothing more to the job, whose record our own
steps have written.
"""

from __future__ import annotations

import logging
import os
import select
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import get_current_job

from rqflow import clock, logs
from rqflow import settings as configuration
from rqflow.broker import keys
from rqflow.broker.broker import Broker
from rqflow.broker.events import EventStream, is_before
from rqflow.broker.faults import LINK_ERRORS, Outage, SetBack, lastingly, patiently
from rqflow.broker.logstream import LogStream
from rqflow.broker.messages import ANNOUNCE, Announced, Claim, End, Ending
from rqflow.broker.replies import text
from rqflow.exceptions import BrokerError, RqflowError, TaskFailed
from rqflow.process import boot_id
from rqflow.security.trust import Refused
from rqflow.settings import Settings
from rqflow.worker import processes
from rqflow.worker.admission import Admission
from rqflow.worker.conclude import Machine, conclude, refuse
from rqflow.worker.confinement import Confinement, Confiner, is_confined
from rqflow.worker.execution import Execution
from rqflow.worker.journal import Started
from rqflow.worker.link import Backoff
from rqflow.worker.logship import LogShipper
from rqflow.worker.memory import OomCounter
from rqflow.worker.outcome import Stop
from rqflow.worker.prepare import Preparer
from rqflow.worker.shepherd_protocol import Ended, Start
from rqflow.worker.spawning import environment_of
from rqflow.worker.tries import Try
from rqflow.worker.workdir import WorkDir

logger = logging.getLogger(__name__)

#: Seconds for which the rest of a log is sent before the horse leaves, and for which it waits for its end to be in the history: longer than Redis
#: takes to write what it was told onto its disk.
_LAST_LOGS, _LAST_END = 30.0, 5.0
#: Seconds between two questions whether it is.
_ASK = 0.1


def run(run_key: str, task_id: str) -> NoReturn:
    """Claim the task and run its try, or leave it to others when it may not run now.

    Raises TaskFailed, before anything is claimed, in a worker that does not fork.
    """
    job = get_current_job()
    if job is None or not job.worker_name:
        raise TaskFailed("rqflow's tasks are run by workers", hint="Start `rqflow worker`, or `rq worker --serializer json`.")
    settings = configuration.load()
    connection = _own_connection(job.connection, settings)
    outage = Outage(logger)
    if lastingly(outage, _is_worker_itself, connection, job.worker_name):
        raise TaskFailed(
            "this worker runs jobs within its own process, which rqflow's tasks cannot have",
            hint="Use `rqflow worker`, or RQ's default worker class, which forks: `rq worker --serializer json`.",
        )
    admission = Admission.of(settings)
    broker = admission.guard(Broker(connection, settings, caller=job.worker_name))
    index = _place(broker, outage, run_key, job.id)
    claim = broker.claim_job(run_key, task_id, lastingly(outage, _execution_id, connection, job.worker_name, job.id), index=index)
    if isinstance(claim, str):
        logger.info("%s does not run now: %s", job.id, claim, extra=logs.context("claim_refused", task_id=task_id))
    else:
        Horse(broker, settings, admission).work(claim)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class Horse:
    """What runs one try."""

    def __init__(self, broker: Broker, settings: Settings, admission: Admission) -> None:
        """Run with `broker`, whose caller is the stock worker, what `admission` lets in."""
        self._broker, self._settings, self._outage = broker, settings, Outage(logger)
        self._machine = Machine(os.uname().nodename, boot_id())
        self._folder = Path(tempfile.mkdtemp(prefix="rqflow-"))
        self._work_dir = WorkDir(self._folder)
        self._preparer = Preparer(broker, settings, self._work_dir, configuration.environment(), admission)
        self._shipper = LogShipper(LogStream(broker.connection), settings, lambda: None, leaves=True, confided=self._preparer.confided)
        self._beat_at = 0.0
        self._named: dict[str, tuple[str, int, int]] = {}

    def work(self, claim: Claim) -> None:
        """Run the try to its end, tell it, and send its log."""
        self._named = {claim.execution_id: (claim.run_key, claim.index, claim.try_number)}
        self._work_dir.make()
        held = Try(claim=claim, folder=self._work_dir.take(), log=self._work_dir.take_log())
        process: subprocess.Popen[bytes] | None = None
        started, confiner, confinement = 0.0, Confiner(self._folder.name), None
        try:
            request = lastingly(self._outage, self._prepared, held)
            started = clock.boottime()
            confinement = confiner.decide(request) if is_confined(request) else None
            process = _spawn(request, self._preparer.inherited, confinement)
        except (RqflowError, OSError, ValueError) as error:
            end = refuse(held, error, self._machine)
        except Exception as error:
            logger.exception("a bug in the preparation of %s", claim.task_id)
            end = refuse(held, error, self._machine)
        self._shipper.start()
        if held.archive:
            self._shipper.watch(held.id, held.log, held.archive)
        if process is not None:
            end = conclude(held, self._watch(held, request, process.pid, started, confinement), self._machine)
        confiner.close(confinement)
        end = self._preparer.confided.without(held, end)
        self._tell(end)
        if held.archive:
            self._shipper.finish(held.id, held.log_bytes)
            self._shipper.drain(_LAST_LOGS)
        self._shipper.stop()
        self._stay_until_recorded(end)
        with suppress(*LINK_ERRORS):
            self._broker.forget_replies()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _prepared(self, held: Try) -> Start:
        try:
            self._preparer.recall(held)
            return self._preparer.request(held)
        except SetBack:
            if held.id in self._announced().given_up:
                raise TaskFailed("Redis was set back before it began, and another try of it has begun since") from None
            raise

    def _watch(self, held: Try, request: Start, pid: int, started: float, confinement: Confinement | None) -> Ended:
        """Wait for the end of the process and of all that belongs to it; beat, and obey cancels and the timeout."""
        counter = OomCounter()
        earliest, latest = int(started * processes.TICKS), int(clock.boottime() * processes.TICKS) + 1
        entry = Started(
            id=held.id, pid=pid, earliest=earliest, latest=latest, boot=self._machine.boot, started=started, timeout=request.timeout,
            grace=request.grace, outputs=request.outputs, try_number=request.try_number, confined=confinement.plain if confinement else None,
        )
        execution = Execution(entry, oom_before=counter.read())
        poll, watched = select.poll(), os.pidfd_open(pid)
        poll.register(watched, select.POLLIN)
        has_ended = False
        while True:
            poll.poll(max(self._sleep(execution), 0.0) * 1000)
            if not has_ended:
                found, status, usage = os.wait4(pid, os.WNOHANG)
                has_ended = found == pid
                if has_ended:
                    poll.unregister(watched)
                    os.close(watched)
                    execution.leader_ended(status=status, cpu=usage.ru_utime + usage.ru_stime, rss=usage.ru_maxrss * 1024, oom_now=counter.read())
            ended = execution.step()
            if ended:
                return ended
            self._beat(held, execution)

    def _sleep(self, execution: Execution) -> float:
        due, now = execution.next_step(), clock.monotonic()
        return min(self._beat_at - now, *([due - now] if due is not None else []), self._settings.worker.heartbeat.total_seconds())

    def _beat(self, held: Try, execution: Execution) -> None:
        if clock.monotonic() < self._beat_at:
            return
        self._beat_at = clock.monotonic() + self._settings.worker.heartbeat.total_seconds()
        try:
            beat = self._broker.beat(self._named)
            if beat.closed == ANNOUNCE:
                self._broker.announce_held([], self._named)
                self._shipper.doubt()
        except (redis.exceptions.RedisError, BrokerError) as error:
            self._outage.note(error)
            return
        self._outage.over()
        if held.id in beat.cancel and held.stop in {None, Stop.CANCELLED}:
            held.stop = Stop.CANCELLED
            how = beat.how.get(held.id, Ending())
            grace = self._settings.worker.kill_grace.total_seconds() if how.grace is None else how.grace
            execution.kill(Stop.CANCELLED.value, grace, how.number)

    def _tell(self, end: End) -> None:
        """Tell the end, for as long as it takes."""
        backoff = Backoff()
        while True:
            turn = lastingly(self._outage, self._broker.turn, queues=[], wanted=0, ends=[end])
            if not turn.closed:
                break
            if turn.closed == ANNOUNCE:
                lastingly(self._outage, self._announced)
            clock.sleep(backoff.next())
        try:
            self._broker.advance_all(turn.unfinished)
        except BrokerError as error:
            logger.warning("what follows from this end is left to the hub, which does it when Redis is back; nothing is lost: %s", error,
                           extra=logs.context("frontier_left"))

    def _stay_until_recorded(self, end: End) -> None:
        """Wait until the history has the end, for as long as Redis is away; tell it again to a Redis that was set back meanwhile."""
        events, asked = EventStream(self._broker.connection), 0
        newest = lastingly(self._outage, events.newest)
        while asked * _ASK < _LAST_END:
            try:
                if self._is_recorded(events, newest):
                    return
                asked += 1
            except SetBack:
                self._tell(end)
                newest, asked = lastingly(self._outage, events.newest), 0
            except LINK_ERRORS as error:
                self._outage.note(error)
            clock.sleep(_ASK)
        logger.warning("nobody has written the end of this try into the database for %.0f s; nothing is lost as long as Redis keeps it", _LAST_END,
                       extra=logs.context("end_unrecorded"))

    def _is_recorded(self, events: EventStream, newest: str) -> bool:
        """Tell whether the history has all up to the entry `newest`, or nobody leads who could write it there.

        Raises SetBack when Redis is not the one that had it.
        """
        upto = patiently(self._broker.connection, events.recorded_upto)
        leads = patiently(self._broker.connection, self._broker.connection.exists, keys.LEADER)
        # Last: an emptied Redis has no leader either.
        self._broker.believe()
        self._outage.over()
        return is_before(newest, upto) or not leads

    def _announced(self) -> Announced:
        """Say what is held here. Raises what redis-py raises when the link breaks, not what is said of it for people."""
        try:
            announced = self._broker.announce_held([], self._named)
        except BrokerError as error:
            raise error.__cause__ or error
        self._shipper.doubt()
        return announced


def _place(broker: Broker, outage: Outage, run_key: str, job_id: str) -> int | None:
    """Return the place of a job's task where its version cannot be read, so that it may be claimed and then refused; None: the version tells it."""
    found = lastingly(outage, broker.run_info, run_key)
    try:
        if found:  # what the claim needs to know, learned beforehand
            lastingly(outage, broker.version_to_run, found.version)
    except (Refused, TaskFailed):
        return lastingly(outage, broker.place_of_job, run_key, job_id)
    return None


def _spawn(request: Start, inherited: Mapping[str, str], confinement: Confinement | None) -> subprocess.Popen[bytes]:
    """Start the task as a child that dies with this horse."""
    def confined() -> None:
        processes.die_with_parent()
        if confinement:
            confinement.enter()

    processes.adopt_orphans()
    descriptor = os.open(request.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with open(descriptor, "ab") as log:
        return subprocess.Popen(
            request.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=request.cwd, env=environment_of(request, inherited),
            umask=int(request.umask, 8) if request.umask else -1, start_new_session=True, restore_signals=True,
            preexec_fn=confined,  # no thread has been started yet
        )


def _own_connection(shared: redis.Redis, settings: Settings) -> redis.Redis:
    """Return a connection to the Redis of `shared` that is not the parent's, does not wait for minutes, and repeats nothing."""
    pool = shared.connection_pool
    timeout = settings.redis.socket_timeout.total_seconds()
    options: dict[str, Any] = {**pool.connection_kwargs, "socket_timeout": timeout, "retry": Retry(NoBackoff(), 0)}
    return redis.Redis(connection_pool=redis.ConnectionPool(connection_class=pool.connection_class, **options))


def _is_worker_itself(connection: redis.Redis, worker: str) -> bool:
    """Tell whether this process is the worker and no horse of it."""
    pid = connection.hget(keys.RQ_WORKER + worker, "pid")
    return pid is not None and int(pid) == os.getpid()


def _execution_id(connection: redis.Redis, worker: str, job_id: str) -> str:
    """Return RQ's own id of this execution, so that its records and ours are the same."""
    for member in connection.smembers(f"{keys.RQ_WORKER}{worker}:executions"):
        found, _, execution = text(member).partition(":")
        if found == job_id:
            return execution
    return uuid.uuid4().hex
