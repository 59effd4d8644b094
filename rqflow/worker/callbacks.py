"""Calls of authors' functions that the hub gives to this worker: each in a fresh Python process of its own, with a limit.

They come in the hash of this machine (broker/callbacks.py) and stay there until their end is told; whoever works here next, or another worker,
takes up what was not ended. A call that takes longer than its limit is ended, like a task: TERM to its process group, a grace, KILL.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from redis.exceptions import RedisError

from rqflow import clock, logs, mail
from rqflow.broker import callbacks as orders
from rqflow.broker.broker import Broker
from rqflow.clock import to_micros
from rqflow.dag import unpacking
from rqflow.dag.callbacks import OF_DAG, OF_TASK, Kind
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version
from rqflow.exceptions import BrokerError, RqflowError, TaskFailed
from rqflow.operators.base import SPEC_FILE
from rqflow.security.trust import Refused
from rqflow.settings import Settings
from rqflow.states import CallbackState
from rqflow.worker import asking, confided, entrusting, environment, program
from rqflow.worker.accounts import Account, Accounts, NoSuchAccount
from rqflow.worker.admission import Admission
from rqflow.worker.confided import Confided
from rqflow.worker.desk import Desk
from rqflow.worker.link import Backoff
from rqflow.worker.outside import Outside
from rqflow.worker.prepare import RUNNER
from rqflow.worker.processes import MARKER
from rqflow.worker.sealed import HANDOVER
from rqflow.worker.tries import RESULT
from rqflow.worker.workdir import CALLBACKS, OUTSIDE, WorkDir

logger = logging.getLogger(__name__)

#: Calls that are under way at the same time, and bytes of what one printed that are kept.
AT_ONCE, OUTPUT = 4, 16 << 10
_LOG = "output"
#: What of an order the child is told; all else is ours.
_SAID = frozenset({"kind", "run", "task_id", "try_number", "reason", "state", "run_state", "about", "host", "pid", "started_at", "ended_at", "misses",
                   "states"})
#: Seconds between two looks whether the last calls have ended.
_LOOK = 0.05


@dataclass(frozen=True, slots=True)
class _End:
    """How a process ended: its wait status, the last that it printed, and whether it took too long."""

    status: int
    output: bytes
    is_late: bool


class Callbacks:
    """The calls of one worker."""

    def __init__(self, brokers: Callable[[], Broker], machine: str, settings: Settings, work_dir: WorkDir, environ: Mapping[str, str],
                 wake: Callable[[], None], admission: Admission, desk: Desk) -> None:
        """Make the calls of `machine` that its `admission` lets in, with the worker's environment `environ`, each through one of `brokers`; `wake` is
        called when one has ended. Those under other accounts ask at its `desk`.
        """
        self._admission, self._desk = admission, desk
        self._brokers, self._machine, self._settings, self._work_dir, self._wake = brokers, machine, settings, work_dir, wake
        self._inherited, self._given = environment.snapshot(environ), environment.given(environ)
        self._folder = work_dir.path / CALLBACKS
        self._accounts = Accounts(settings.worker)
        self._lock = threading.Lock()
        self._running: dict[str, threading.Thread] = {}
        self._processes: set[int] = set()
        self._is_closed = False

    @property
    def is_busy(self) -> bool:
        """Whether a call is under way."""
        return bool(self._running)

    def holds(self, name: str) -> bool:
        """Tell whether this call is under way."""
        return name in self._running

    def look(self, broker: Broker) -> None:
        """Begin the calls that wait, as many as may be under way. Raises redis-py's errors."""
        # What is under way now may end, and tell it, while Redis is asked: it must not begin again by what was read.
        with self._lock:
            under_way = set(self._running)
        for name, order in orders.orders(broker, self._machine).items():
            with self._lock:
                if self._is_closed or len(self._running) >= AT_ONCE:
                    return
                if name in under_way:
                    continue
                thread = threading.Thread(target=self._carry_out, args=(name, order), name="callback", daemon=True)
                self._running[name] = thread
            thread.start()

    def close(self, in_a_hurry: Callable[[], bool]) -> None:
        """Begin no more, and wait for the end of those under way, which is near: they have a limit. Who is `in_a_hurry` has them killed."""
        with self._lock:
            self._is_closed = True
        until = clock.monotonic() + self._limit + self._settings.worker.kill_grace.total_seconds()
        while self._running and clock.monotonic() < until:
            for pid in list(self._processes) if in_a_hurry() else ():
                # What sudo has started has its limit.
                with contextlib.suppress(PermissionError):
                    _kill(pid, signal.SIGKILL)
            clock.sleep(_LOOK)

    @property
    def _limit(self) -> float:
        return self._settings.worker.callback_timeout.total_seconds()

    def _carry_out(self, name: str, order: Mapping[str, Any]) -> None:
        """Make one call and tell its end; what goes wrong here is the end of the call, never of the worker."""
        try:
            self._call(self._brokers(), name, order)
        except (RedisError, RqflowError, OSError, ValueError, KeyError) as error:
            logger.warning("a callback could not be called, the hub asks again: %s", error, extra=logs.context("callback_failed", callback=name))
        finally:
            with self._lock:
                del self._running[name]
            self._wake()

    def _call(self, broker: Broker, name: str, order: Mapping[str, Any]) -> None:
        stored = orders.version(broker, str(order["version"]))
        if stored is None:
            # The hub sees that the order is gone, and gives it anew with its version.
            orders.withdraw(broker, self._machine, name)
            return
        run = RunInfo.from_json(json.dumps(order["run"]))
        started_at = broker.now()
        try:
            version, signers = self._admission.admit_callback(stored, run, str(order["task_id"]))
            account = self._accounts.of(version.by_id.get(str(order["task_id"])), [signer.limits for signer in signers])
        except (Refused, TaskFailed) as error:
            why = error.whole if isinstance(error, Refused) else error.message
            self._end(broker, name, order, run, started_at, (CallbackState.FAILED, why, "", {}))
            return
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        try:
            ended = self._in(folder, broker, order, version, run, account)
        except NoSuchAccount as error:
            ended = (CallbackState.FAILED, f"{error.message}; {error.hint}".rstrip("; "), "", {})
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self._end(broker, name, order, run, started_at, ended)

    def _end(self, broker: Broker, name: str, order: Mapping[str, Any], run: RunInfo, started_at: datetime,
             ended: tuple[CallbackState, str, str, Mapping[str, str]]) -> None:
        """Tell and log how a call ended: state, reason, what it printed, the XComs that it pushed."""
        state, reason, output, xcoms = ended
        kind = Kind(order["kind"])
        event = {
            "called": OF_TASK.get(kind) or OF_DAG[kind], "task": str(order.get("about") or ""), "try": int(order.get("try_number") or 0),
            "state": state.value, "worker": self._machine, "reason": reason, "output": output, "started_at": to_micros(started_at),
        }
        self._tell(broker, name, run, event, str(order["task_id"]), xcoms)
        logger.log(logging.INFO if state is CallbackState.SUCCESS else logging.WARNING, "%s of %s %s%s", event["called"],
                   order.get("about") or run.run_id, state.value, f": {reason}" if reason else "", extra=logs.context("callback", callback=name))

    def _tell(self, broker: Broker, name: str, run: RunInfo, event: Mapping[str, Any], task_id: str, xcoms: Mapping[str, str]) -> None:
        """Tell the end for as long as it takes, unless this worker ends: then the call is made again by whoever follows."""
        backoff = Backoff()
        while True:
            try:
                if xcoms and broker.run_exists(run.key):
                    _push(broker, run, task_id, xcoms)
                orders.tell(broker, self._machine, name, run, event)
                return
            except (RedisError, BrokerError):
                if self._is_closed:
                    raise
                clock.sleep(backoff.next())

    def _in(self, folder: Path, broker: Broker, order: Mapping[str, Any], version: Version, run: RunInfo, account: Account | None,
            ) -> tuple[CallbackState, str, str, Mapping[str, str]]:
        """Make the call in a folder of its own; return how it ended, why, what it printed, and the XComs that it pushed."""
        log, outside = str(folder / _LOG), Outside(broker, self._settings, folder / OUTSIDE, worker=self._machine)
        name = f"callback-{folder.name}"
        about = {
            MARKER: name, "RQFLOW_DAG_ID": run.dag_id, "RQFLOW_RUN_ID": run.run_id, "RQFLOW_TASK_ID": str(order["task_id"]),
            "RQFLOW_TRY": str(order.get("try_number") or 0), "RQFLOW_LOGICAL_DATE": run.logical_date.isoformat(),
        }
        if account:
            ended, result = self._as(account, name, folder, order, version, run, broker, outside, about)
        else:
            spec = self._spec(folder, broker, order, run) | {"hub": asking.told(self._settings), **outside.hand_over(log, folder)}
            unpacked = self._work_dir.unpack(version)
            _write(folder / SPEC_FILE, json.dumps(spec | _where(unpacked, self._work_dir.program)))
            env = {**self._inherited, **self._given, HANDOVER: outside.opener(execution_id=folder.name), **about}
            ended = self._run([sys.executable, str(self._work_dir.program / RUNNER), str(folder / SPEC_FILE)], folder, env)
            result = {}
            with contextlib.suppress(OSError, ValueError):
                result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        printed = ended.output.decode("utf-8", "replace")
        if ended.is_late:
            state, reason = CallbackState.FAILED, f"it took longer than {self._limit:g} s and was ended"
        elif ended.status:
            complaint = entrusting.complaint_in(printed) if account else ""
            state, reason = CallbackState.FAILED, str(result.get("reason") or complaint or _how(ended.status))
        else:
            state, reason = CallbackState.SUCCESS, ""
        masker = Confided(outside.keyring, confided.in_environment(self._inherited.items())).masker(log)
        return state, masker.text(reason), masker.text(printed)[-OUTPUT:], result.get("xcoms") or {}

    def _as(self, account: Account, name: str, folder: Path, order: Mapping[str, Any], version: Version, run: RunInfo, broker: Broker,
            outside: Outside, about: Mapping[str, str]) -> tuple[_End, Mapping[str, Any]]:
        """Make the call under an account, in a private folder of that; return how it ended, and its result. Raises NoSuchAccount."""
        place, log = account.place(name), str(folder / _LOG)
        copy = outside.copy_for(self._desk, log)
        hub = self._desk.told(folder.name, account.uid, log)
        spec = self._spec(place, broker, order, run) | {"outside": str(place / entrusting.OUTSIDE), "hub": hub}
        spec |= _where(place / entrusting.UNPACKED, program.INSTALLED)
        opener = outside.opener_for(account, self._desk, log, execution_id=folder.name)
        env = {**account.environment(self._inherited), **self._given, HANDOVER: opener, **about}
        entrusting.write_parcel(
            folder / entrusting.PARCEL, account, place, {SPEC_FILE: json.dumps(spec), entrusting.OUTSIDE: copy, **entrusting.files_of(version)},
            argv=[sys.executable, str(program.INSTALLED / RUNNER), str(place / SPEC_FILE)], env=env,
        )
        try:
            with (folder / entrusting.PARCEL).open("rb") as parcel:
                ended = self._run(account.command, folder, {"PATH": os.defpath, MARKER: name}, account=account, parcel=parcel)
            return ended, entrusting.fetch_from(account, place).result or {}
        finally:
            account.ask("remove", folders=[str(place)])

    def _spec(self, place: Path, broker: Broker, order: Mapping[str, Any], run: RunInfo) -> dict[str, Any]:
        """Return what the process is told (worker/runner.py, dag/callback_child.py), which has the folder `place`."""
        xcoms = order.get("xcoms")
        return {
            **{key: order[key] for key in _SAID & order.keys()}, "mode": "callback", "result": str(place / RESULT),
            "smtp": mail.spelled(self._settings.smtp), "limit": self._limit, "xcoms": broker.xcoms(run.key) if xcoms is None else xcoms,
        }

    def _run(self, argv: Sequence[str], folder: Path, env: Mapping[str, str], *, account: Account | None = None,
             parcel: BinaryIO | None = None) -> _End:
        """Run a process in a session of its own, for no longer than the limit."""
        process = subprocess.Popen(argv, cwd=folder if account is None else "/", env=dict(env), stdin=parcel or subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, **(account.ids if account else {}))
        assert process.stdout is not None
        self._processes.add(process.pid)
        is_late = True
        with process.stdout as pipe, _Reader(pipe.fileno(), process.pid) as reader:
            try:
                is_late = not reader.follow(self._limit)
                if is_late:
                    _kill(process.pid, signal.SIGTERM, account)
                    reader.follow(self._settings.worker.kill_grace.total_seconds())
            finally:
                if is_late:
                    # As long as it is not waited for, nobody else can have its number.
                    _kill(process.pid, signal.SIGKILL, account)
                process.wait()
                self._processes.discard(process.pid)
            return _End(process.returncode, reader.tail(), is_late)


class _Reader:
    """Reads what a process prints until it ends; others that it left may still hold its output open."""

    def __init__(self, pipe: int, pid: int) -> None:
        self._pipe, self._process = pipe, os.pidfd_open(pid)
        os.set_blocking(pipe, False)
        self._kept = bytearray()

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._process)

    def follow(self, seconds: float) -> bool:
        """Read for at most so many seconds; tell whether the process has ended."""
        until, poll = clock.monotonic() + seconds, select.poll()
        poll.register(self._pipe, select.POLLIN)
        poll.register(self._process, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(max(until - clock.monotonic(), 0.0) * 1000)}
            if self._pipe in ready and not self._read():
                poll.unregister(self._pipe)
            if self._process in ready:
                return True
            if clock.monotonic() >= until:
                return False

    def tail(self) -> bytes:
        """Return the end of what was printed; the process is over."""
        while self._read():
            pass
        return bytes(self._kept)

    def _read(self) -> bool:
        """Take in what is there; False when there is nothing (any more)."""
        try:
            found = os.read(self._pipe, 1 << 16)
        except BlockingIOError:
            return False
        self._kept += found
        # Twice as much, so that a secret at the edge is seen whole before it is blotted out.
        del self._kept[:-2 * OUTPUT]
        return bool(found)


def _push(broker: Broker, run: RunInfo, task_id: str, xcoms: Mapping[str, str]) -> None:
    """Push XComs, unless the version of the run, which need not be the one that the call was of, is none that this worker reads."""
    try:
        for key, value in xcoms.items():
            broker.push_xcom(run.key, task_id, key, value)
    except (Refused, TaskFailed) as error:
        logger.warning("the XComs of a callback of %s are not kept: %s", run.run_id, error.message, extra=logs.context("callback_xcoms_refused"))


def _where(unpacked: Path, package: Path) -> dict[str, Any]:
    """Return where a process finds its version, and rqflow."""
    return {"rqflow": str(package), "own": package != program.INSTALLED, "folder": str(unpacked / unpacking.SOURCES),
            "version": str(unpacked / unpacking.VERSION)}


def _kill(pid: int, number: signal.Signals, account: Account | None = None) -> None:
    """Send a signal to the group of a process that was started in a session of its own."""
    if account and account.is_by_sudo:
        with contextlib.suppress(NoSuchAccount):
            account.ask("signal", group=pid, number=int(number), mark="", processes=[])
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _how(status: int) -> str:
    return f"ended by signal {-status}" if status < 0 else f"ended with exit code {status}"


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(text)
