"""From how a process ended to what the broker is told of it. Pure.

The operator says what the end of its process means; here retries, kills, timeouts, memory and missing outputs are laid over it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from typing import Any

from rqflow.broker.messages import Claim, End
from rqflow.dag.retry import retry_delay
from rqflow.dag.version import TaskSpec
from rqflow.operators.base import Ended as Seen
from rqflow.operators.base import Outcome, say_end
from rqflow.states import TaskState
from rqflow.values import format_duration
from rqflow.worker.confinement import said_size
from rqflow.worker.execution import was_sigkill
from rqflow.worker.shepherd_protocol import FENCE, TIMEOUT, Ended


class Stop(str, Enum):
    """Why a worker had a try ended before its time."""

    #: A person cancelled the task or its run, or marked the task.
    CANCELLED = "cancelled"
    #: A person stopped this job by RQ's command; it gets no further try.
    STOPPED = "stopped by a person"
    #: It was declared lost while it could not be reached; another try may run.
    GIVEN_UP = "ended: it was declared lost while it could not be reached"
    #: The worker was told to stop at once; the same try runs again elsewhere.
    REQUEUED = "its worker was stopped"


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What the worker adds to the end of a process."""

    ended_ago: float = 0.0
    log_bytes: int = 0
    host: str = ""
    #: Empty when nobody knows the run any more.
    dag_id: str = ""
    run_id: str = ""


def seen_by_operator(ended: Ended, **left: Any) -> Seen:
    """Return exit code and signal of a process in the operator's terms, with what it `left`: last_line, folder, result."""
    if ended.status is None:
        return Seen(**left)
    code = os.waitstatus_to_exitcode(ended.status)
    return Seen(exit_code=code, **left) if code >= 0 else Seen(signal=-code, **left)


def stopped(ended: Ended, wanted: Stop | None) -> Stop | None:
    """Return why a try was stopped: as this worker `wanted`, or as an earlier one told the shepherd.

    None when nobody wanted it, and when the process had ended well before its kill began.
    """
    if ended.status == 0 and not ended.killed:
        return None
    return wanted or next((stop for stop in Stop if stop.value == ended.killed), None)


def overrule(outcome: Outcome, ended: Ended, *, stop: Stop | None, timeout: float | None, missing: Sequence[str],
             limit: str = "") -> Outcome:
    """Return what the end means when what rqflow did to the process, its outputs, and the limit that it had reached, are taken into account."""
    if stop:
        states = {Stop.CANCELLED: TaskState.CANCELLED, Stop.STOPPED: TaskState.FAILED, Stop.REQUEUED: TaskState.UP_FOR_RESCHEDULE,
                  Stop.GIVEN_UP: TaskState.LOST}
        return Outcome(state=states[stop], reason=stop.value, retry=False, retry_in=0.0)
    if ended.error:
        return Outcome(state=TaskState.FAILED, reason=f"could not be started: {ended.error}")
    if ended.lost:
        return Outcome(state=TaskState.LOST, reason="lost: its exit code is unknown, because the shepherd that watched it is gone")
    if ended.killed == FENCE:
        return Outcome(state=TaskState.LOST, reason="lost: the hub could not be reached within its grace, so it was ended")
    if ended.killed == TIMEOUT:
        return Outcome(state=TaskState.FAILED, reason=f"timeout after {_seconds(timeout or 0.0)}")
    if outcome.state == TaskState.SUCCESS and missing:
        return Outcome(state=TaskState.FAILED, reason=f"it ended well, but its output {', '.join(missing)} is missing")
    if outcome.state == TaskState.FAILED and limit:
        return replace(outcome, reason=f"{outcome.reason}, {limit}")
    if outcome.state == TaskState.FAILED and was_sigkill(ended.status) and not ended.killed:
        return replace(outcome, reason=f"{outcome.reason}, {_memory(ended)}")
    return outcome


def end(claim: Claim, task: TaskSpec | None, outcome: Outcome, ended: Ended, facts: Facts) -> End:
    """Return what the broker is told. A failure becomes up_for_retry while tries are left; `task` is None when nobody knows it any more."""
    state, retry_in = outcome.state, outcome.retry_in or 0.0
    if state == TaskState.FAILED and outcome.retry and task is not None and claim.try_number < claim.max_tries:
        state = TaskState.UP_FOR_RETRY
        retry_in = outcome.retry_in if outcome.retry_in is not None else retry_delay(task, claim.try_number, claim.job_id)
    if state == TaskState.LOST and outcome.retry and task is not None:
        retry_in = retry_delay(task, claim.try_number, claim.job_id)
    seen = seen_by_operator(ended)
    told = {
        "host": facts.host, "pid": ended.pid or None, "exit_code": seen.exit_code, "signal": seen.signal, "cpu_seconds": ended.cpu or None,
        "max_rss_bytes": ended.rss or None, "log_bytes": facts.log_bytes, "skips": list(outcome.skip) or None,
        "retry_in": round(retry_in, 6) if state in {TaskState.UP_FOR_RETRY, TaskState.UP_FOR_RESCHEDULE} else None,
        "looks": claim.looks + 1 if state == TaskState.UP_FOR_RESCHEDULE and retry_in > 0 else claim.looks or None,
    }
    return End(
        run_key=claim.run_key, index=claim.index, try_number=claim.try_number, execution_id=claim.execution_id, state=state,
        retry_in=retry_in, ended_ago=facts.ended_ago, duration=max(ended.ended - ended.started, 0.0), reason=_printable(outcome.reason),
        xcoms=outcome.xcoms, skip=outcome.skip, facts={name: value for name, value in told.items() if value is not None},
        dag_id=facts.dag_id, run_id=facts.run_id, task_id=claim.task_id,
    )


def _printable(reason: str) -> str:
    """Return a reason, which may hold what a task said, without what a terminal would obey."""
    return "".join(one if one.isprintable() or one == "\n" else "�" for one in reason)


def closing_lines(outcome: Outcome, ended: Ended) -> list[str]:
    """Return what is added to the log of a try: what was left, why it failed, and last how it ended and what it used."""
    lines = [f"left running: {', '.join(ended.left)}"] if ended.left else []
    if ended.survivors:
        lines.append(f"could not be killed: {', '.join(ended.survivors)}")
    lines += ended.notes
    if ended.oom and ended.status == 0:
        lines.append("the kernel killed something of it for want of memory, though it ended well")
    lines += [f"what it left was renamed to {name}" for name in ended.partial]
    said = say_end(seen_by_operator(ended)) or "exit code 0"
    if ended.error:
        return [*lines, outcome.reason]
    if outcome.reason and not outcome.reason.startswith(said):
        said = f"{outcome.reason} ({said})"
    elif outcome.reason:
        said = outcome.reason
    return [*lines, f"{said}, {_said_seconds(ended.ended - ended.started)}, CPU {_said_seconds(ended.cpu)}, {said_size(ended.rss)}"]


def _said_seconds(seconds: float) -> str:
    return f"{seconds:.3f} s" if 0 < seconds < 0.0995 else f"{seconds:.1f} s"


def _memory(ended: Ended) -> str:
    sure = "out of memory" if ended.oom else "perhaps out of memory"
    return f"{sure}: peak memory {said_size(ended.rss)}"


def _seconds(seconds: float) -> str:
    return format_duration(timedelta(seconds=seconds))
