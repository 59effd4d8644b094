"""Runs, task instances and tries as people and programs are shown them; `plain` of each is the JSON that is documented.

The fields only grow: a program that reads them goes on working with a newer rqflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import Enum
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from rqflow.states import TERMINAL_RUN_STATES, CallbackState, RunState, TaskState

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Try:
    """One try of a task instance."""

    try_number: int
    state: TaskState
    reason: str = ""
    #: What an end said that came after the task instance had moved on: evidence only.
    late: Mapping[str, Any] | None = None
    execution_id: str = ""
    queue: str = ""
    worker: str = ""
    host: str = ""
    pid: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    #: Seconds.
    duration: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    cpu_seconds: float | None = None
    max_rss_bytes: int | None = None
    log_bytes: int | None = None
    #: sha of the version that it was of.
    version: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A call of an author's functions, for something that happened to a task or a run."""

    #: failure, retry, skipped or success of a task; run_failure, run_success, sla_miss.
    kind: str
    state: CallbackState
    #: Its task and try; empty and 0: it is about the run.
    task_id: str = ""
    try_number: int = 0
    #: host.work_dir of the worker that has it, or had it, and how often it was given to one.
    worker: str = ""
    sends: int = 0
    #: What it waits for, or why it failed; the end of what was printed.
    reason: str = ""
    output: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskInstance:
    """A task of a run with all its tries."""

    task_id: str
    state: TaskState
    #: Current or last try, 0 before the first; how many it may have.
    try_number: int = 0
    max_tries: int = 1
    #: Why it waits, or why it ended so.
    reason: str = ""
    operator: str = ""
    queue: str = ""
    pool: str = ""
    worker: str = ""
    queued_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    #: When its delay is over, for up_for_retry and up_for_reschedule.
    due_at: datetime | None = None
    duration: float | None = None
    cancel_requested: bool = False
    #: Since when the worker of a running task is not heard of, and until when it counts as running all the same; None: for as long as it takes.
    unreachable_since: datetime | None = None
    assumed_until: datetime | None = None
    #: When it should have ended by its sla, and had not; None: it has none, or has kept it so far.
    sla_missed: datetime | None = None
    job_id: str = ""
    #: sha of the version that it follows: the run's, unless a person let it run again when there was a later one.
    version: str | None = None
    tries: tuple[Try, ...] = ()
    #: Calls of its author's functions.
    callbacks: tuple[Call, ...] = ()

    @property
    def shown_state(self) -> str:
        """Its state as people see it: with the marks that a running task may have."""
        if self.state is not TaskState.RUNNING:
            return str(self.state.value)
        if self.unreachable_since:
            return "unreachable"
        return "cancel requested" if self.cancel_requested else "running"

    @property
    def has_run(self) -> bool:
        """Whether a first try has begun; a task may be cancelled or skipped, or its upstream fail, before that."""
        return self.started_at is not None or self.try_number > 1 or bool(self.tries)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run with all its task instances."""

    dag_id: str
    run_id: str
    run_key: str
    state: RunState
    run_type: str | None = None
    version: str | None = None
    logical_date: datetime | None = None
    data_interval_start: datetime | None = None
    data_interval_end: datetime | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration: float | None = None
    cancel_requested: bool = False
    conf: Mapping[str, Any]
    params: Mapping[str, Any]
    note: str = ""
    #: How many of its tasks did not end in their sla.
    sla_misses: int = 0
    #: The backfill that made it, or ran it again last; None: none did.
    backfill_id: int | None = None
    #: Who started it, by hand or by a backfill; empty: its schedule did, or nobody knows.
    started_by: str = ""
    tasks: tuple[TaskInstance, ...] = ()
    #: Calls of functions of the DAG; those of tasks are with the tasks.
    callbacks: tuple[Call, ...] = ()

    @property
    def is_finished(self) -> bool:
        """Whether the run has ended."""
        return self.state in TERMINAL_RUN_STATES


def plain(value: Any) -> Any:
    """Return a dataclass of this module, or what it holds, as JSON has it: times in ISO 8601 with microseconds, UTC."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


def restored(kind: type[T], record: Mapping[str, Any]) -> T:
    """Return the dataclass of this module of which `record` is the JSON; what this release does not know is left out."""
    hints = get_type_hints(kind)
    return kind(**{name: _restored(hints[name], value) for name, value in record.items() if name in hints})


def _restored(hint: Any, value: Any) -> Any:
    options = [one for one in get_args(hint) if one is not type(None)] if get_origin(hint) is UnionType else [hint]
    kind = options[0]
    if value is None:
        return None
    if kind is datetime:
        return datetime.fromisoformat(value)
    if get_origin(kind) is tuple:
        return tuple(_restored(get_args(kind)[0], item) for item in value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    return restored(kind, value) if is_dataclass(kind) and isinstance(kind, type) else value


def seconds_between(start: datetime | None, end: datetime | None) -> float | None:
    """Return the seconds from `start` to `end`, never below 0; None when one of them is not known."""
    return max((end - start).total_seconds(), 0.0) if start and end else None


def duration_words(seconds: float | None) -> str:
    """Return `seconds` as people read it: 4ms, 0.4s, 12s, 3m05s, 2h07m; empty for None."""
    if seconds is None:
        return ""
    if 0 < seconds < 0.0995:
        return f"{max(seconds * 1000, 1):.0f}ms"
    if seconds < 10:
        return f"{seconds:.1f}s"
    if seconds < 60:
        return f"{seconds:.0f}s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


def size_words(count: int | None) -> str:
    """Return bytes as people read them, in steps of 1024: 640 B, 2.1 GB; empty for None."""
    if count is None:
        return ""
    amount, unit = float(count), 0
    while amount >= 1023.5 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.0f} {_UNITS[unit]}" if not unit or amount >= 99.95 else f"{amount:.1f} {_UNITS[unit]}"
