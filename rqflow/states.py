"""The states of task instances and runs, and the one table of what may follow what.

The Lua steps get this table from broker/keys.py and refuse whatever it lacks. The picture in docs/explanation/states.md is drawn
from it.
"""

from __future__ import annotations

from enum import Enum


class TaskState(str, Enum):
    """Where a task instance stands. `unreachable` and `cancel_requested` are marks on a running one, no states."""

    #: Waits for upstream tasks.
    PENDING = "pending"
    #: Could run by its upstream tasks, but a gate (pool, concurrency, labels, pause …) holds it; the reason says which.
    PARKED = "parked"
    #: Waits for a free slot of a worker on its queue.
    QUEUED = "queued"
    #: A worker has it.
    RUNNING = "running"
    #: Ended well.
    SUCCESS = "success"
    #: Ended badly, no try left.
    FAILED = "failed"
    #: Not run, because a branch, a short circuit, exit code 99 or its trigger rule said so.
    SKIPPED = "skipped"
    #: Not run, because upstream tasks failed.
    UPSTREAM_FAILED = "upstream_failed"
    #: A try failed; the next one starts after retry_delay.
    UP_FOR_RETRY = "up_for_retry"
    #: A sensor gave its slot back and pokes again later.
    UP_FOR_RESCHEDULE = "up_for_reschedule"
    #: The machine that ran it reported it gone, or its grace is over.
    LOST = "lost"
    #: A person stopped it, or the run, before it ended.
    CANCELLED = "cancelled"
    #: The run has no instance of this task (its start_date lies after the logical date, or the run was made of some tasks only).
    REMOVED = "removed"


class RunState(str, Enum):
    """Where a DAG run stands."""

    #: Created, not yet started (max_active_runs, or being prepared).
    QUEUED = "queued"
    #: Tasks run or wait.
    RUNNING = "running"
    #: All tasks ended; no leaf failed.
    SUCCESS = "success"
    #: All tasks ended; a leaf failed or is upstream_failed.
    FAILED = "failed"
    #: A person stopped it.
    CANCELLED = "cancelled"


class BackfillState(str, Enum):
    """Where a backfill stands."""

    #: Written down; the leading scheduler has not yet taken it up.
    QUEUED = "queued"
    #: Its runs are made, as many at a time as may be active.
    RUNNING = "running"
    #: No more runs are made until it is resumed; those that were go on.
    PAUSED = "paused"
    #: No more runs are made, and those that have not ended are being cancelled.
    CANCELLING = "cancelling"
    #: All its runs ended well.
    SUCCESS = "success"
    #: All its runs ended, and some of them badly; or it could not go on, and says why.
    FAILED = "failed"
    #: A person stopped it.
    CANCELLED = "cancelled"


class CallbackState(str, Enum):
    """Where the call of an author's functions stands."""

    #: No worker has it; the reason says what it waits for.
    WAITING = "waiting"
    #: A worker was asked to do it.
    SENT = "sent"
    #: All functions returned.
    SUCCESS = "success"
    #: One of them raised an exception, or took too long, or they could not be called.
    FAILED = "failed"


T = TaskState

TERMINAL_STATES = frozenset({T.SUCCESS, T.FAILED, T.SKIPPED, T.UPSTREAM_FAILED, T.LOST, T.CANCELLED, T.REMOVED})
#: States that a trigger rule counts as failure.
FAILURE_STATES = frozenset({T.FAILED, T.UPSTREAM_FAILED, T.LOST, T.CANCELLED})
TERMINAL_RUN_STATES = frozenset({RunState.SUCCESS, RunState.FAILED, RunState.CANCELLED})
TERMINAL_BACKFILL_STATES = frozenset({BackfillState.SUCCESS, BackfillState.FAILED, BackfillState.CANCELLED})

#: What may follow what. A terminal state is left only by clear (to pending) or by mark (to success, failed, skipped).
_MARKED = frozenset({T.SUCCESS, T.FAILED, T.SKIPPED})
_CLEARED = frozenset({T.PENDING})
TRANSITIONS: dict[TaskState, frozenset[TaskState]] = {
    T.PENDING: frozenset({T.PARKED, T.QUEUED, T.SUCCESS, T.SKIPPED, T.UPSTREAM_FAILED, T.CANCELLED, T.REMOVED}) | _MARKED,
    T.PARKED: frozenset({T.QUEUED, T.RUNNING, T.CANCELLED, T.PENDING}) | _MARKED,
    T.QUEUED: frozenset({T.PARKED, T.RUNNING, T.CANCELLED, T.PENDING}) | _MARKED,
    T.RUNNING: frozenset({T.SUCCESS, T.FAILED, T.SKIPPED, T.UP_FOR_RETRY, T.UP_FOR_RESCHEDULE, T.QUEUED, T.PARKED, T.LOST, T.CANCELLED}),
    T.UP_FOR_RETRY: frozenset({T.QUEUED, T.PARKED, T.CANCELLED, T.PENDING}) | _MARKED,
    T.UP_FOR_RESCHEDULE: frozenset({T.QUEUED, T.PARKED, T.CANCELLED, T.PENDING}) | _MARKED,
    T.SUCCESS: _CLEARED | _MARKED - {T.SUCCESS},
    T.FAILED: _CLEARED | _MARKED - {T.FAILED},
    T.SKIPPED: _CLEARED | _MARKED - {T.SKIPPED},
    T.UPSTREAM_FAILED: _CLEARED | _MARKED,
    T.LOST: _CLEARED | _MARKED | {T.UP_FOR_RETRY, T.QUEUED, T.PARKED},
    T.CANCELLED: _CLEARED | _MARKED,
    T.REMOVED: frozenset(),
}

#: How each state shows in RQ: the status of the job, and the kind of set or list that holds it (architecture section 5).
RQ_STATUS: dict[TaskState, str] = {
    T.PENDING: "deferred",
    T.PARKED: "deferred",
    T.QUEUED: "queued",
    T.RUNNING: "started",
    T.UP_FOR_RETRY: "scheduled",
    T.UP_FOR_RESCHEDULE: "scheduled",
    T.SUCCESS: "finished",
    T.SKIPPED: "finished",
    T.FAILED: "failed",
    T.LOST: "failed",
    T.UPSTREAM_FAILED: "canceled",
    T.CANCELLED: "canceled",
}
