"""The end of a try: the operator's view of it, its outputs, the last lines of its log, and what the broker is told."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rqflow import clock, logs
from rqflow.broker.messages import End
from rqflow.dag.xcom_view import MAX_BYTES, RETURN_VALUE
from rqflow.exceptions import RqflowError, TaskFailed
from rqflow.operators.base import Outcome, say_end
from rqflow.operators.registry import by_kind
from rqflow.security.trust import Refused
from rqflow.states import TaskState
from rqflow.worker import entrusting, limits, logfile, outputs
from rqflow.worker.accounts import NoSuchAccount
from rqflow.worker.entrusting import Left
from rqflow.worker.outcome import Facts, closing_lines, end, overrule, seen_by_operator, stopped
from rqflow.worker.prepare import OutputsExist, Unsupported
from rqflow.worker.shepherd_protocol import FENCE, TIMEOUT, Ended
from rqflow.worker.tries import Try

logger = logging.getLogger(__name__)

_OUT_OF_MEMORY = "out of memory"
#: A result file that a Python child leaves is not read beyond this.
_RESULT_SIZE = 16 << 20


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine a worker is on: its name, and which boot of it this is."""

    host: str
    boot: str


def conclude(held: Try, ended: Ended, machine: Machine, *, closed: bool = False) -> End:
    """Return what the broker is told of a try whose process has ended, and close its log.

    `closed` says that an earlier worker may have begun to. The outputs of a try that did not succeed are renamed.
    """
    if held.account and (why := entrusting.complaint(ended, held.log)):
        ended = replace(ended, error=why)
    stop = stopped(ended, held.stop)
    took_part = not (stop or ended.error or ended.lost or ended.killed in {TIMEOUT, FENCE})
    try:
        left = entrusting.fetch(held) if held.account and not ended.error else _left(held)
        outcome = _outcome(held, ended, left.result, closed=closed) if took_part else Outcome(state=TaskState.FAILED)
    except NoSuchAccount as error:
        left, outcome = entrusting.NOTHING, Outcome(state=TaskState.FAILED, reason=error.message)
    missing = left.missing if outcome.state == TaskState.SUCCESS else ()
    limit = _limit(held, ended) if outcome.state == TaskState.FAILED and took_part else ""
    outcome, lines = _fitting(overrule(outcome, ended, stop=stop, timeout=held.timeout, missing=missing, limit=limit))
    if outcome.state not in {TaskState.SUCCESS, TaskState.SKIPPED}:
        with contextlib.suppress(OSError, NoSuchAccount):
            ended = replace(ended, partial=(*ended.partial, *_mark_partial(held)))
    held.inhabited = bool(ended.left or ended.survivors)
    moved = [f"what was there before it was moved to {name}" for name in (*held.moved, *left.moved)]
    outcome = _close_log(held, outcome, [*moved, *outcome.notes, *held.notes, *lines, *closing_lines(outcome, ended)])
    facts = _facts(held, machine, _ended_ago(ended, machine.boot))
    return end(held.claim, held.task, outcome, ended, facts)


def refuse(held: Try, error: Exception, machine: Machine) -> End:
    """Return what the broker is told of a try that could not be started, with the reason in its log."""
    if isinstance(error, OutputsExist):
        outcome = Outcome(state=TaskState.SUCCESS, reason=error.message)
    elif isinstance(error, Refused):
        # People who look at the history alone are to know what to do, too.
        outcome = Outcome(state=TaskState.FAILED, reason=error.whole, retry=False)
    elif isinstance(error, RqflowError):
        outcome = Outcome(state=TaskState.FAILED, reason=error.message, retry=not isinstance(error, Unsupported | NoSuchAccount))
    elif isinstance(error, OSError):
        outcome = Outcome(state=TaskState.FAILED, reason=f"could not be started: {error.strerror or error}: {error.filename or held.folder}")
    else:
        outcome = Outcome(state=TaskState.FAILED, reason=f"could not be started: {type(error).__name__}: {error}")
    hint = getattr(error, "hint", "") if not isinstance(error, Refused) else ""
    outcome = _close_log(held, outcome, [outcome.reason, *([hint] if hint else [])])
    return end(held.claim, held.task, outcome, Ended(id=held.id), _facts(held, machine))



def _ended_ago(ended: Ended, boot: str) -> float:
    """Return how many seconds ago a process ended; the clock that counts from boot tells it best, while that boot lasts."""
    if not ended.at:
        return 0.0
    return max(clock.boottime() - ended.ended if ended.boot == boot else clock.timestamp() - ended.at, 0.0)


def _facts(held: Try, machine: Machine, ended_ago: float = 0.0) -> Facts:
    dag_id, run_id = (held.run.dag_id, held.run.run_id) if held.run else ("", "")
    return Facts(log_bytes=held.log_bytes, host=machine.host, ended_ago=ended_ago, dag_id=dag_id, run_id=run_id)


def _limit(held: Try, ended: Ended) -> str:
    """Return which of its limits a task that has failed had reached, as far as the kernel or the task tells; empty for none."""
    if held.limits is limits.NONE:
        return ""
    if ended.oom and held.limits.memory is not None:
        return held.limits.told(_OUT_OF_MEMORY)
    return held.limits.told(logfile.tail(held.log))


def _left(held: Try) -> Left:
    """Return what a try has left that this worker may look at by itself."""
    return Left(result=None if held.is_bare else _result(held.result), missing=tuple(outputs.missing(held.outputs)))


def _mark_partial(held: Try) -> list[str]:
    mark = outputs.mark_partial if held.account is None else held.account.mark_partial
    return mark(held.outputs, held.claim.try_number)


def _outcome(held: Try, ended: Ended, result: Mapping[str, Any] | None, *, closed: bool) -> Outcome:
    """Return the operator's view of the end; by the exit code alone when nobody knows the task any more."""
    seen = seen_by_operator(
        ended, folder=held.place, result=result, last_line=logfile.last_line(held.log, closed=closed),
    )
    if held.job is None:
        return Outcome(state=TaskState.SUCCESS if seen.exit_code == 0 else TaskState.FAILED, reason=say_end(seen))
    try:
        return by_kind(held.job.task.operator).outcome(held.fields, seen, held.job)
    except TaskFailed as error:
        return Outcome(state=TaskState.FAILED, reason=error.message)


def _result(path: Path) -> Mapping[str, Any] | None:
    """Return what a Python child left; None when it left nothing that can be read."""
    try:
        with path.open("rb") as stream:
            plain = json.loads(stream.read(_RESULT_SIZE))
    except (OSError, ValueError):
        return None
    return plain if isinstance(plain, dict) else None


def _fitting(outcome: Outcome) -> tuple[Outcome, list[str]]:
    """Return the outcome with XComs that Redis is to hold, and lines about those that are too large.

    The last line of a command's output is merely not kept; what somebody pushed makes the try fail, because others will miss it.
    """
    large = {key: len(text.encode(errors="replace")) for key, text in outcome.xcoms.items()}
    large = {key: size for key, size in large.items() if size > MAX_BYTES}
    if not large:
        return outcome, []
    lines = [f"its XCom {key} has {size} bytes, more than the {MAX_BYTES} that are kept" for key, size in large.items()]
    kept = {key: text for key, text in outcome.xcoms.items() if key not in large}
    if set(large) == {RETURN_VALUE} and isinstance(json.loads(outcome.xcoms[RETURN_VALUE]), str):
        return replace(outcome, xcoms=kept), lines
    return Outcome(state=TaskState.FAILED, reason=lines[0], retry=False), []


def _close_log(held: Try, outcome: Outcome, lines: list[str]) -> Outcome:
    """Add our lines to the log; return the outcome, whose reason says so when there is no room for them: then other lines are missing too."""
    try:
        held.log_bytes = logfile.add_lines(held.log, lines)
    except OSError as error:
        context = logs.context("log_incomplete", task_id=held.claim.task_id)
        logger.warning("the log of %s cannot be completed: %s", held.claim.task_id, error, extra=context)
        with contextlib.suppress(OSError):
            held.log_bytes = Path(held.log).stat().st_size
        said = f"its log is incomplete: {error.strerror}"
        return replace(outcome, reason=f"{outcome.reason}; {said}" if outcome.reason else said)
    return outcome
