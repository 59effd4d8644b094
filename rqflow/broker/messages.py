"""What goes to and comes from the atomic steps: claims, ends, and the events that they write."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rqflow.states import TaskState
from rqflow.wire import decode, encode

#: Redis lost data, or may have: the hub puts its runs together. This worker has to say what it holds. The hub has to note this worker first.
REBUILD, ANNOUNCE, ADMIT = "rebuild", "announce", "admit"


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """One try of a task instance that this worker now holds and must start."""

    run_key: str
    index: int
    task_id: str
    try_number: int
    execution_id: str
    job_id: str
    queue: str
    version: str
    #: When the claim was made, by Redis' clock: microseconds since the epoch.
    started_at: int
    #: The number of the last try that retries allow; a clear raises it.
    max_tries: int = 1
    #: Seconds for which the task may go on while this worker cannot reach the hub; 0: for ever.
    grace: float = 0.0
    #: A try that gave its slot back and goes on: seconds since it began for the first time, and how often it has given it back.
    waited: float = 0.0
    looks: int = 0

    @classmethod
    def read(cls, reply: Sequence[Any]) -> Claim:
        """Return the claim as the steps reply it; the order is that of lua/turn.lua."""
        run_key, index, task_id, try_number, execution_id, job_id, queue, version, started_at, max_tries, grace, waited, looks = reply
        return cls(run_key=run_key, index=int(index), task_id=task_id, try_number=int(try_number), execution_id=execution_id, job_id=job_id,
                   queue=queue, version=version, started_at=int(started_at), max_tries=int(max_tries), grace=float(grace), waited=float(waited),
                   looks=int(looks))


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """How one try ended, as the worker tells it. `state` is success, failed, skipped, cancelled, up_for_retry, up_for_reschedule or lost.

    `ended_ago` and `duration` are seconds by the worker's monotonic clock; Redis' clock turns them into times.
    """

    run_key: str
    index: int
    try_number: int
    execution_id: str
    state: TaskState
    #: Seconds until the next try, for up_for_retry and up_for_reschedule.
    retry_in: float = 0.0
    ended_ago: float = 0.0
    duration: float = 0.0
    #: Why, in words for people, when it is not a plain success: "exit code 3", "timeout after 5s" …
    reason: str = ""
    #: {key: JSON text} to be stored as XComs of this task.
    xcoms: Mapping[str, str] = field(default_factory=dict)
    #: Indices of downstream tasks that this one (a branch, a short circuit) said must be skipped.
    skip: tuple[int, ...] = ()
    #: host, worker, pid, exit_code, signal, cpu_seconds, max_rss_bytes, log_bytes: kept with the try in SQL.
    facts: Mapping[str, Any] = field(default_factory=dict)
    #: Names, only for the record of a late end whose run Redis may have lost meanwhile; empty where they are not known.
    dag_id: str = ""
    run_id: str = ""
    task_id: str = ""

    def told(self) -> dict[str, Any]:
        """Return this end as the steps read it; what is empty is left out. The facts are JSON text, which the steps pass on as it is."""
        told: dict[str, Any] = {"run": self.run_key, "index": self.index, "try": self.try_number, "execution": self.execution_id,
                                "state": self.state.value, "ended_ago": round(self.ended_ago, 6), "duration": round(self.duration, 6),
                                "facts": encode(dict(self.facts)).decode()}
        if self.retry_in:
            told["retry_in"] = self.retry_in
        if self.reason:
            told["reason"] = self.reason
        if self.xcoms:
            told["xcoms"] = dict(self.xcoms)
        if self.skip:
            told["skip"] = list(self.skip)
        if self.dag_id:
            told |= {"dag": self.dag_id, "run_id": self.run_id, "task": self.task_id}
        return told


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """What was due of the entries that wait for their time."""

    #: How many entries were taken: tasks that were queued, and alarms.
    moved: int
    #: DAGs whose alarm rang.
    ticks: tuple[str, ...] = ()
    #: Seconds until the next entry is due; None: none waits.
    next: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """The answer to one turn of a worker: what it claimed, and what became of the ends that it told."""

    #: Why nothing was claimed: REBUILD, ANNOUNCE or ADMIT; empty when Redis gives work. But for ADMIT no end was taken either.
    closed: str = ""

    claims: tuple[Claim, ...] = ()
    #: "ok" or "stale" for each end, in their order; a stale one was kept as evidence and changed nothing.
    accepted: tuple[str, ...] = ()
    #: Keys of runs whose frontier has more to do than one call may: call Broker.advance on them.
    unfinished: tuple[str, ...] = ()
    #: The ends that `accepted` is about: those of the turn that was repeated, after a broken link.
    ends: tuple[End, ...] = ()
    #: When the turn was sent for the first time, by CLOCK_BOOTTIME: no claim in it is older.
    asked_at: float = 0.0
    #: The link broke and the turn was asked again: its claims may be old, and given up meanwhile.
    was_repeated: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Announced:
    """The answer to what a worker said that it holds."""

    #: False: Redis is not to be believed yet; say it again later.
    is_heard: bool
    #: Execution ids of which another try has begun, or the end is known, and those of runs that Redis does not have.
    given_up: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a person wants something ended that runs."""

    #: Seconds from the signal to KILL, 0: KILL at once; None: worker.kill_grace.
    grace: float | None = None
    #: Number of the signal that comes first.
    number: int = signal.SIGTERM

    @classmethod
    def from_json(cls, text: str) -> Ending:
        """Read what `json` wrote."""
        grace, number = decode(text)
        return cls(grace=grace, number=number)

    @property
    def json(self) -> str:
        """Return it as one text."""
        return encode([self.grace, self.number]).decode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Beat:
    """The answer to a heartbeat: what each execution that it named must do now."""

    #: Why Redis is not to be believed now: REBUILD or ANNOUNCE; else empty.
    closed: str = ""
    #: Execution ids that a person wants stopped.
    cancel: tuple[str, ...] = ()
    #: Of these the ones of which a person said how.
    how: Mapping[str, Ending] = field(default_factory=dict)
    #: Execution ids that were declared lost: another try of the task may run elsewhere.
    given_up: tuple[str, ...] = ()
    #: Execution ids of which Redis knows nothing, or less than we do.
    unknown: tuple[str, ...] = ()
    #: Execution ids of this machine whose ends the history has.
    recorded: tuple[str, ...] = ()
