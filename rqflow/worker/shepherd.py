"""The shepherd: a small process of its own session, one a work_dir, that is the parent of all task processes.

It outlives the worker. It starts processes on request, waits for them with wait4, ends them in stages when asked or when their time is
over, and keeps a journal of starts and ends until the worker has no more use for them. It ends some seconds after its last task and its
last client are gone. `python -m rqflow.worker.shepherd WORK_DIR LINGER_SECONDS`

Only the standard library and rqflow's base are imported here, and all of it at the start: an upgrade may replace the files of a
shepherd that runs on.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import selectors
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rqflow import clock, process, runtime
from rqflow.wire import encode
from rqflow.worker import processes, spawning
from rqflow.worker.confinement import Confinement, Confiner, is_confined
from rqflow.worker.execution import Execution
from rqflow.worker.journal import Journal, Started
from rqflow.worker.memory import OomCounter
from rqflow.worker.shepherd_clients import Client, Clients
from rqflow.worker.shepherd_protocol import JOURNAL, LOCK, PROTOCOL, SOCKET, Ended, Running, Start, from_plain, joined, pack, to_plain
from rqflow.worker.waiting import Waiting

logger = logging.getLogger(__name__)

#: The longest sleep; shorter ones come from deadlines.
_LONGEST_SLEEP = 60.0
#: For how long it waits for its first client, however short its linger is.
_FIRST_CLIENT_SECONDS = 5.0
#: The longest sleep while some process has a time by which it must be dead.
_FENCE_LOOK = 1.0
#: A process that has begun to load its program shows its mark within this time.
_MARK_SECONDS = 0.05
#: For how long ends are gathered; less than the shortest task takes. And while the next processes are at hand, so that nobody waits for an answer.
_GATHER_SECONDS, _GATHER_AT_HAND = 0.0005, 0.02
_ENDED = encode({"op": "ended"})


class Shepherd:
    """The loop. Everything happens in one thread."""

    def __init__(self, folder: Path, linger: float) -> None:
        self._linger = linger
        self._idle_since = clock.monotonic() + max(_FIRST_CLIENT_SECONDS - linger, 0.0)
        self._selector = selectors.DefaultSelector()
        self._executions: dict[str, Execution] = {}
        self._by_pid: dict[int, Execution] = {}
        self._touched: list[Execution] = []
        self._journal = Journal(folder / JOURNAL)
        self._memory = OomCounter()
        self._confiner = Confiner(f"rqflow-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}")
        self._confined: dict[str, Confinement] = {}
        self._boot = process.boot_id()
        self._base: dict[str, str] = {}
        self._umask = os.umask(0o077)
        self._null = os.open(os.devnull, os.O_RDWR)
        self._held: dict[str, int] = {}
        self._wanted: list[Start] = []
        self._waiting = Waiting()
        #: How many ends were not told yet, and when they must be (monotonic).
        self._untold, self._tell_at = 0, 0.0
        self._stopping = False
        self._processors = len(os.sched_getaffinity(0))
        self._operations: dict[str, Callable[[Client, dict[str, Any]], None]] = {
            "hello": self._hello, "environment": self._environment, "hold": self._hold, "start": self._start,
            "kill": self._kill, "fence": self._fence, "accepted": self._accepted, "forget": self._forget,
        }
        self._clients = Clients(folder, self._selector, self._obey, self._left)
        self._catch_signals()
        self._adopt()

    def run(self) -> None:
        """Serve until there is nothing left to do."""
        while not self._is_over():
            try:
                ready = self._selector.select(self._sleep())
                # First after waking, which may have been a long sleep: what is over is over, whatever anybody says now.
                for execution in self._fenced():
                    execution.keep_fence()
                for key, mask in ready:
                    key.data(mask)
                self._start_wanted()
                self._reap()
                self._gather()
                self._step()
                self._start_wanted()
                self._write_out()
            except Exception:
                logger.exception("a bug in the shepherd; it goes on for the sake of its tasks")
                clock.sleep(0.2)
        self._confiner.close()

    # -- waiting --

    def _is_over(self) -> bool:
        busy = bool(self._executions) or (len(self._clients) > 0 and not self._stopping)
        if busy:
            self._idle_since = clock.monotonic()
        return not busy and (self._stopping or clock.monotonic() - self._idle_since >= self._linger)

    def _sleep(self) -> float:
        if self._touched:
            return 0.0
        now = clock.monotonic()
        due = [at for execution in self._executions.values() if (at := execution.next_step()) is not None]
        if not self._executions and not len(self._clients):
            due.append(self._idle_since + self._linger)
        if len(self._waiting):
            due.append(now + (self._waiting.late_at or 0.0) - clock.boottime())
            if self._untold:
                due.append(self._tell_at)
        if self._fenced():
            # The wait itself does not count the time that the machine sleeps.
            due.append(now + _FENCE_LOOK)
        return min(max(min(due, default=now + _LONGEST_SLEEP) - now, 0.0), _LONGEST_SLEEP)

    def _catch_signals(self) -> None:
        reader = processes.signals_as_bytes(self._terminate)

        def drain(_: int) -> None:
            with contextlib.suppress(BlockingIOError):
                os.read(reader, 4096)

        self._selector.register(reader, selectors.EVENT_READ, drain)

    def _terminate(self, *_: object) -> None:
        """Leave as soon as no task runs; tasks are never abandoned."""
        self._stopping = True

    # -- tasks --

    def _reap(self) -> None:
        """Collect all children that have ended: tasks, and orphans of tasks."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            execution = self._by_pid.pop(pid, None)
            if execution:
                cpu, rss = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
                execution.leader_ended(status=status, cpu=round(cpu, 6), rss=rss, oom_now=self._memory.read() if status else None)
                self._touched.append(execution)

    def _gather(self) -> None:
        """Wait a moment for further ends while those that still run keep all processors busy: a worker takes several as quickly as one."""
        if self._touched and not len(self._waiting) and len(self._by_pid) >= self._processors:
            clock.sleep(_GATHER_SECONDS)
            self._reap()

    def _step(self) -> None:
        """Advance what has ended or is due; tell the ends."""
        now = clock.monotonic()
        due = [e for e in self._executions.values() if (at := e.next_step()) is not None and at <= now]
        for execution in {id(e): e for e in [*self._touched, *due]}.values():
            ended = execution.step()
            if ended:
                del self._executions[ended.id]
                self._tell(ended)
        self._touched.clear()

    def _tell(self, ended: Ended) -> None:
        plain = to_plain(ended)
        # Whoever hears of this end knows the memo from the start, as the journal does.
        plain.pop("memo", None)
        body = encode(plain)
        kept = self._journal.running.get(ended.id)
        if kept and kept.confined:
            self._confiner.over(kept.confined)
        self._journal.end(ended, body)
        self._clients.tell_workers(joined(_ENDED, body))
        if not self._untold:
            self._tell_at = clock.monotonic() + _GATHER_AT_HAND
        self._untold += 1

    def _tell_late(self, execution_id: str) -> None:
        """Say that one that waited will not be started."""
        self._clients.tell_workers(pack("ended", Ended(id=execution_id, late=True)))
        self._tell_at = 0.0

    def _write_out(self) -> None:
        """Write the journal first, then send what is to be sent; that may wait while the next processes are here."""
        self._write_journal()
        if self._untold < 2 * self._waiting.slots and clock.monotonic() < self._tell_at:
            return
        self._clients.flush()
        self._untold = 0

    def _write_journal(self) -> None:
        try:
            self._journal.flush()
        except OSError:
            logger.exception("the journal cannot be written; its entries are kept in memory")

    def _adopt(self) -> None:
        """Take over what a shepherd before us started: watch what lives; what has gone is lost, for nobody saw how it ended."""
        self._confiner.adopt({name: entry.confined for name, entry in self._journal.running.items()})
        self._find_intended()
        for entry in list(self._journal.running.values()):
            execution = Execution(entry)
            self._executions[entry.id] = execution
            try:
                descriptor = os.pidfd_open(entry.pid) if entry.boot == self._boot else -1
            except ProcessLookupError:
                descriptor = -1
            if descriptor >= 0 and processes.is_same(entry.pid, entry.earliest, entry.latest):
                self._selector.register(descriptor, selectors.EVENT_READ, lambda _, e=execution, d=descriptor: self._vanished(e, d))
                continue
            execution.leader_ended(status=None, reused=descriptor >= 0 or entry.boot != self._boot)
            self._touched.append(execution)
            if descriptor >= 0:
                os.close(descriptor)

    def _find_intended(self) -> None:
        """Find the processes that a shepherd before us was just starting; those that are not there may have run, or not: they are lost."""
        intended = [entry for entry in self._journal.running.values() if not entry.pid]
        if intended:
            # Our lock was free only after these had let go of it, which they do a moment before they show their mark.
            clock.sleep(_MARK_SECONDS)
        for entry in intended:
            leader = processes.leader_of(entry.id, since=entry.earliest) if entry.boot == self._boot else None
            if leader:
                self._journal.start(entry.id, leader, int(clock.boottime() * processes.TICKS) + 1)
            else:
                self._tell(Ended(id=entry.id, lost=True, memo=entry.memo, **self._moments(entry.started)))

    def _vanished(self, execution: Execution, descriptor: int) -> None:
        self._selector.unregister(descriptor)
        os.close(descriptor)
        execution.leader_ended(status=None)
        self._touched.append(execution)

    # -- operations --

    def _obey(self, client: Client, message: dict[str, Any]) -> None:
        """Carry out what a client asks; what an old shepherd does not know is passed over."""
        name = message.get("op", "")
        if name != "start":
            # In the order in which they were asked for.
            self._start_wanted()
        operation = self._operations.get(name)
        if operation:
            operation(client, message)

    def _hello(self, client: Client, message: dict[str, Any]) -> None:
        client.is_worker = message.get("role") == "worker"
        if client.is_worker:
            # The one before is gone, or is not sure of us any more: it counts what waits among what was never started.
            self._waiting.clear()
        entries = self._journal.running.values()
        running = [to_plain(Running(id=e.id, pid=e.pid, memo=e.memo)) for e in entries]
        ended = [to_plain(entry) for entry in self._journal.open_ends()]
        client.out += pack("hello", protocol=PROTOCOL, pid=os.getpid(), running=running, ended=ended)

    def _environment(self, _: Client, message: dict[str, Any]) -> None:
        self._base = message["env"]
        self._umask = int(message.get("umask", "022"), 8)

    def _hold(self, _: Client, message: dict[str, Any]) -> None:
        path = message["path"]
        if path in self._held:
            return
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            logger.exception("cannot hold %s", path)
            return
        self._held[path] = descriptor

    def _start(self, _: Client, message: dict[str, Any]) -> None:
        self._wanted.append(from_plain(Start, message))

    def _start_wanted(self) -> None:
        """Start what was asked for, and what waited for a slot.

        All of it is in the journal before its first process is: a successor must know what may run.
        """
        if not self._wanted and not len(self._waiting):
            return
        now = clock.boottime()
        for request in self._waiting.late(now):
            self._tell_late(request.id)
        at_once = [request for request in self._wanted if not request.slots]
        for request in self._wanted:
            if request.slots:
                self._waiting.put(request, now)
        self._wanted.clear()
        requests = [request for request in at_once + self._waiting.take(len(self._executions) + len(at_once)) if self._intend(request)]
        if not requests:
            return
        self._write_journal()
        for request in requests:
            self._spawn(request)
        # Afterwards, because nobody waits for it then; what the kernel kills for want of memory lives longer than that.
        count = self._memory.read()
        for request in requests:
            if request.id in self._executions:
                self._executions[request.id].oom_before = count

    def _intend(self, request: Start) -> bool:
        """Note a start in the journal; return False when this execution was started before."""
        if request.id in self._journal.running or request.id in self._journal.ended:
            return False
        started = clock.boottime()
        if is_confined(request):
            self._confined[request.id] = self._confiner.decide(request)
        confined = self._confined.get(request.id)
        self._journal.intend(Started(
            id=request.id, boot=self._boot, started=started, earliest=int(started * processes.TICKS), timeout=request.timeout,
            fence=request.fence, grace=request.grace, outputs=request.outputs, try_number=request.try_number, memo=request.memo,
            confined=confined.plain if confined else None,
        ))
        return True

    def _spawn(self, request: Start) -> None:
        entry, confinement = self._journal.running[request.id], self._confined.pop(request.id, None)
        try:
            unborn = spawning.fork(request, confinement, self._base, self._umask, self._null) if confinement else None
            pid = unborn.pid if unborn else spawning.spawn(request, self._base, self._umask, self._null)
        except (OSError, ValueError) as error:
            self._tell(Ended(id=request.id, error=spawning.reason(error, request), memo=request.memo, **self._moments(entry.started)))
            return
        self._journal.start(request.id, pid, int(clock.boottime() * processes.TICKS) + 1)
        self._executions[request.id] = self._by_pid[pid] = Execution(entry, unborn=unborn)
        if unborn:
            self._write_journal()
            unborn.let_go()

    def _moments(self, started: float) -> dict[str, Any]:
        """Return the times of an end that nobody saw, or that was no start."""
        return {"started": started, "ended": clock.boottime(), "at": clock.timestamp(), "boot": self._boot}

    def _kill(self, _: Client, message: dict[str, Any]) -> None:
        execution = self._executions.get(message["id"])
        if execution:
            execution.kill(message.get("reason", "killed"), float(message.get("grace", 10.0)), int(message.get("signal", signal.SIGTERM)))
        elif self._waiting.remove(message["id"]):
            self._tell_late(message["id"])

    def _left(self, client: Client) -> None:
        if client.is_worker:
            self._waiting.clear()

    def _fence(self, _: Client, message: dict[str, Any]) -> None:
        executions = [self._executions[name] for name in message["until"] if name in self._executions]
        until = {one.entry.id: float(message["until"][one.entry.id]) for one in executions if not one.fence_is_over()}
        if until:
            self._journal.fence(until)

    def _fenced(self) -> list[Execution]:
        return [execution for execution in self._executions.values() if execution.entry.fence is not None]

    def _accepted(self, _: Client, message: dict[str, Any]) -> None:
        self._journal.accept(message["ids"])

    def _forget(self, _: Client, message: dict[str, Any]) -> None:
        self._journal.forget(message["ids"])


def main() -> int:
    """Run the shepherd of the work_dir argv[1] in the background; nothing happens when another one is there already."""
    folder, linger = Path(sys.argv[1]), float(sys.argv[2])
    if os.fork():
        # Nobody's child: the worker that started it shall neither wait for it nor leave a zombie.
        os._exit(0)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    os.chdir("/")
    processes.adopt_orphans()
    processes.set_name("rqflow-shepherd")
    runtime.settle()
    Shepherd(folder, linger).run()
    (folder / SOCKET).unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
