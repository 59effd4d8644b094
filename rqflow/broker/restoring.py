"""Writing a run into Redis as the history tells it: after Redis lost or rolled back its data, or for a run that it has forgotten."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rqflow.broker import creation, keys, rows
from rqflow.broker.broker import Broker
from rqflow.broker.replies import items
from rqflow.dag.past import RunBefore
from rqflow.dag.run import RunInfo
from rqflow.dag.version import Version, amend
from rqflow.states import TaskState

#: States of tries that have begun and go on: what they began first counts for their timeouts.
_GO_ON = frozenset({TaskState.RUNNING, TaskState.QUEUED, TaskState.PARKED, TaskState.UP_FOR_RESCHEDULE})
#: Task instances that one step puts back.
CHUNK = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Remembered:
    """A task instance as the history has it. Times are microseconds since the epoch."""

    index: int
    state: TaskState
    try_number: int
    max_tries: int
    #: Order of its newest event: what Redis knows of a later (try, seq) stands.
    seq: int
    reason: str = ""
    worker: str = ""
    execution_id: str = ""
    started_at: int | None = None
    ended_at: int | None = None
    #: When its delay is over.
    due_at: int | None = None
    #: How often its present try has given its slot back to look again later.
    looks: int = 0
    #: Indices that it skipped, and the one that skipped it.
    skips: tuple[int, ...] = ()
    skipped_by: int | None = None
    #: It did not run: its trigger rule gave it its state.
    is_derived: bool = False
    #: It is parked until a person says what becomes of it.
    asks: bool = False
    cancel_requested: bool = False
    xcoms: Mapping[str, str] = field(default_factory=dict)
    #: The version that it follows, unless that is the run's.
    version: str = ""

    def told(self) -> dict[str, Any]:
        """Return it as restore.lua reads it."""
        record: dict[str, Any] = {"i": self.index, "s": self.state.value, "t": self.try_number, "m": self.max_tries, "v": str(self.seq),
                                  "z": self.reason or None, "w": self.worker or None, "e": self.execution_id or None, "o": self.skipped_by}
        record |= {name: str(value) for name, value in (("b", self.started_at), ("d", self.ended_at), ("n", self.due_at)) if value is not None}
        if self.started_at is not None and self.state in _GO_ON:
            record["f"] = [self.try_number, str(self.started_at), self.looks]
        record |= {"k": list(self.skips) or None, "xk": sorted(self.xcoms) or None, "dv": self.is_derived or None, "asks": self.asks or None,
                   "y": str(self.seq) if self.cancel_requested else None}
        return {name: value for name, value in record.items() if value is not None}


def restore(
    broker: Broker, run: RunInfo, version: Version, tasks: Sequence[Remembered], *, started_at: int | None = None, ended_at: int | None = None,
    cancelled_by: str = "", before: RunBefore | None = None, others: Collection[Version] = (),
) -> int:
    """Put a run into Redis, or set right what Redis has of it; returns how many task instances were changed. Safe to repeat and to break off.
    `others` are the versions that tasks follow beside the run's.

    Raises BrokerError, or redis-py's errors, when Redis does not answer.
    """
    creation.prepare(broker.steps, run, version, before)
    amended = {other.sha: amend(version, other) for other in others}
    for other in others:
        creation.keep_version(broker.steps, run.key, other)
    xcoms = {f"{task.index}:{key}": value for task in tasks for key, value in task.xcoms.items()}
    if xcoms:
        broker.steps.command("HSET", keys.xcom_key(run.key), *(part for pair in xcoms.items() for part in pair))
    branches = [task.index for task in tasks if task.skips and task.state is TaskState.SUCCESS]
    changed = 0
    for at in range(0, max(len(tasks), 1), CHUNK):
        last = at + CHUNK >= len(tasks)
        told = [_told(task, amended) for task in tasks[at:at + CHUNK]]
        payload: dict[str, Any] = {"run": run.key, "tasks": told, "last": last, "lease": broker.lease, "branches": branches if last else []}
        payload |= {name: str(value) for name, value in (("started", started_at), ("ended", ended_at)) if value}
        payload |= {"cancel": cancelled_by} if cancelled_by else {}
        reply = broker.steps.call("restore", payload)
        changed += int(reply["changed"])
        broker.advance_all(items(reply["unfinished"]))
    return changed


def _told(task: Remembered, amended: Mapping[str, Version]) -> dict[str, Any]:
    """Return a task instance as restore.lua reads it, with the row of the version that it follows."""
    if task.version not in amended:
        return task.told()
    return {**task.told(), "vs": task.version, "row": rows.row_text(amended[task.version].tasks[task.index])}
