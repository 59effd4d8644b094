"""Giving calls of authors' functions to workers: the leader's own work.

A call goes to the worker that ran the try, or the last try of the run; to another one that serves the task's queue when that one is gone. A worker
that is gone before it told the end is followed by another one, so a function may be called twice then, never not at all.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rqflow.broker import callbacks as orders
from rqflow.broker.broker import Broker
from rqflow.broker.events import EventStream, is_before
from rqflow.broker.names import machine_of
from rqflow.broker.status import WorkerStatus
from rqflow.dag.callbacks import Kind
from rqflow.dag.version import DEFAULT_QUEUE, TaskSpec, Version
from rqflow.recorder import calling
from rqflow.recorder.loop import keep_running
from rqflow.states import CallbackState, TaskState
from rqflow.store import callbacks, dags, runs, signatures, tasks, xcoms
from rqflow.store.callbacks import Callback
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction
from rqflow.store.runs import RunRecord
from rqflow.store.sla import Miss
from rqflow.store.tasks import TryRecord

#: Seconds between two looks, calls that one look deals with, and versions that are remembered.
EVERY, AT_ONCE, _VERSIONS = 0.5, 200, 16
#: What the task is when the functions of a kind are called.
_STATE = {
    Kind.FAILURE: TaskState.FAILED, Kind.RETRY: TaskState.UP_FOR_RETRY, Kind.SKIPPED: TaskState.SKIPPED, Kind.SUCCESS: TaskState.SUCCESS,
}


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a call is about: the run, its version, the task (None: the run has none), and the try by which its worker is chosen."""

    run: RunRecord
    version: Version
    task: TaskSpec | None
    attempt: TryRecord | None


class CallbackSender:
    """Sees to it that each call is made; the leading scheduler has one."""

    def __init__(self, broker: Broker, engine: Engine) -> None:
        """Give what `engine` has to workers through `broker`, which is its own."""
        self._broker, self._engine = broker, engine
        self._events = EventStream(broker.connection)
        self._lease = broker.settings.worker.lease
        self._versions: OrderedDict[str, Version | None] = OrderedDict()
        #: {id: newest event} of orders that are not there, when that was seen first: their end is on its way, or Redis lost them.
        self._missing: dict[str, str] = {}
        #: The last call that was dealt with: many that wait for a worker must not hold up those behind them.
        self._last: Callback | None = None

    def run(self, stop: threading.Event, idle: Callable[[], None]) -> None:
        """Work until `stop` is set, over all failures; `idle` waits until there may be a call."""
        def step() -> None:
            if self.step():
                stop.wait(EVERY)
            else:
                idle()

        keep_running(step, stop, name="callbacks")

    def step(self) -> int:
        """Give out what waits, look after what was given, some at a time in turn; return how many these were. Raises StoreError or BrokerError."""
        recorded = self._events.recorded_upto() if self._missing else ""
        with reading(self._engine) as connection:
            found = callbacks.open_calls(connection, AT_ONCE, after=self._last)
            if not found and self._last is not None:
                found = callbacks.open_calls(connection, AT_ONCE)
        self._last = found[-1] if len(found) == AT_ONCE else None
        live = self._live() if found else {}
        if not found:
            self._missing.clear()
        for call in found:
            if call.state is CallbackState.SENT:
                self._look_after(call, live, recorded)
            else:
                self._give(call, live)
        return len(found)

    def _live(self) -> dict[str, WorkerStatus]:
        """Return {machine: worker} of those that were heard of within a lease."""
        since = self._broker.now() - self._lease
        heard = (worker for worker in self._broker.workers() if worker.last_heartbeat and worker.last_heartbeat >= since)
        return {machine_of(worker.name): worker for worker in heard}

    def _look_after(self, call: Callback, live: Mapping[str, WorkerStatus], recorded: str) -> None:
        """See whether a call that a worker has is lost: the worker is gone, or the order is, and no end of it was told."""
        name = call.callback_id
        if call.worker in live and name in orders.sent(self._broker, call.worker):
            self._missing.pop(name, None)
            return
        if orders.withdraw(self._broker, call.worker, name):
            self._wait(call, f"worker {call.worker} is gone; another one is looked for")
        elif name not in self._missing:
            self._missing[name] = self._events.newest()
        elif recorded and is_before(self._missing[name], recorded):
            del self._missing[name]
            self._wait(call, f"Redis lost what worker {call.worker} was to do; it is asked again")

    def _give(self, call: Callback, live: Mapping[str, WorkerStatus]) -> None:
        """Give a call to a worker, when there is one; forget it when there is no function for it."""
        with reading(self._engine) as connection:
            run = runs.by_key(connection, call.run_key)
            if run is not None and run.info is None:
                self._wait(call, "the history does not know yet what the run is")
                return
            subject = self._subject(connection, call, run)
            worker = self._choose(subject, live) if subject else None
            order = self._order(connection, call, subject) if subject and worker else {}
            # Asked each time: somebody may have signed it meanwhile.
            signed = signatures.of(connection, [subject.version.sha]) if subject else {}
        if subject is None:
            run_in_transaction(self._engine, lambda connection: callbacks.forget(connection, [call.callback_id]))
            return
        if worker is None:
            self._wait(call, _unserved(subject.task))
            return
        machine = machine_of(worker.name)
        if run_in_transaction(self._engine, lambda connection: callbacks.send(connection, call.callback_id, machine)):
            orders.send(self._broker, worker.name, call.callback_id, order, subject.version.with_signatures(signed.get(subject.version.sha, ())))

    def _subject(self, connection: Connection, call: Callback, run: RunRecord | None) -> _Subject | None:
        """Return what a call is about; None when there is no function for it, or the history has not got it any more."""
        version = self._version(connection, call.version or (run.version if run else None))
        if run is None or version is None:
            return None
        if call.task_id:
            attempt = tasks.one_try(connection, call.run_key, call.task_id, call.try_number)
            task = version.by_id.get(call.task_id)
            kinds = task.callbacks if task else ()
        else:
            attempt = tasks.last_try(connection, call.run_key)
            task = version.by_id.get(attempt.task_id if attempt else "") or next(iter(version.tasks), None)
            kinds = version.callbacks
        return _Subject(run, version, task, attempt) if call.kind in kinds else None

    def _choose(self, subject: _Subject, live: Mapping[str, WorkerStatus]) -> WorkerStatus | None:
        """Return the worker that ran the try, else the least busy one that could have."""
        own = live.get(machine_of(subject.attempt.worker)) if subject.attempt else None
        if own is not None:
            return own
        queue, labels = (subject.task.queue, set(subject.task.worker_labels)) if subject.task else (DEFAULT_QUEUE, set())
        able = [worker for worker in live.values() if queue in worker.queues and labels <= set(worker.labels)]
        return min(able, key=lambda worker: (worker.running, worker.name), default=None)

    def _order(self, connection: Connection, call: Callback, subject: _Subject) -> dict[str, Any]:
        """Return what the worker is told (dag/callback_child.py)."""
        kind, attempt, info = Kind(call.kind), subject.attempt, subject.run.info
        assert info is not None
        state = _STATE.get(kind) or (attempt.state if attempt else None)
        told: dict[str, Any] = {
            "kind": call.kind, "run": json.loads(info.to_json()), "version": subject.version.sha,
            "task_id": subject.task.task_id if subject.task else "",
            "try_number": attempt.try_number if attempt else call.try_number, "reason": call.detail, "state": state.value if state else "",
            "run_state": subject.run.state.value, "about": call.task_id,
        }
        if attempt:
            told |= {"host": attempt.host, "pid": attempt.pid, "started_at": _iso(attempt.started_at), "ended_at": _iso(attempt.ended_at)}
        if kind is Kind.SLA_MISS:
            told["misses"], told["reason"] = json.loads(call.detail), ""
            told["states"] = {one.task_id: one.state.value for one in tasks.of_run(connection, call.run_key)}
        elif kind in {Kind.RUN_FAILURE, Kind.RUN_SUCCESS}:
            told["reason"] = call.detail or ("task_failure" if kind is Kind.RUN_FAILURE else "success")
        if not self._broker.run_exists(call.run_key):
            told["xcoms"] = xcoms.of_run(connection, call.run_key)
        return told

    def _version(self, connection: Connection, sha: str | None) -> Version | None:
        if sha is None:
            return None
        if sha not in self._versions:
            while len(self._versions) >= _VERSIONS:
                self._versions.popitem(last=False)
            self._versions[sha] = dags.version(connection, sha)
        return self._versions[sha]

    def _wait(self, call: Callback, reason: str) -> None:
        if call.state is not CallbackState.WAITING or call.reason != reason:
            run_in_transaction(self._engine, lambda connection: callbacks.wait(connection, call.callback_id, reason))


def note_misses(engine: Engine, run_key: str, misses: Sequence[Miss]) -> None:
    """Write the call for slas of a run that were missed; it is forgotten again where the DAG has no function for that."""
    run_in_transaction(engine, lambda connection: callbacks.note(connection, [calling.of_misses(run_key, misses)]))


def _unserved(task: TaskSpec | None) -> str:
    """Say which worker is missing."""
    said = f"no live worker serves the queue {task.queue if task else DEFAULT_QUEUE}"
    return f"{said} and has the labels {', '.join(task.worker_labels)}" if task and task.worker_labels else said


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
