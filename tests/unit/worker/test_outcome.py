from __future__ import annotations

import signal
from typing import Any

import pytest

from rqflow.broker.messages import Claim
from rqflow.operators.base import Outcome
from rqflow.states import TaskState
from rqflow.worker.outcome import Facts, Stop, closing_lines, end, overrule, seen_by_operator, stopped
from rqflow.worker.shepherd_protocol import Ended
from tests.unit.builders import a_task

S = TaskState
GOOD, BAD = Outcome(state=S.SUCCESS), Outcome(state=S.FAILED, reason="exit code 3")
KILLED = int(signal.SIGKILL)


def a_claim(**changes: Any) -> Claim:
    defaults: dict[str, Any] = {
        "run_key": "k", "index": 0, "task_id": "t", "try_number": 1, "execution_id": "e", "job_id": "j", "queue": "q", "version": "v",
        "started_at": 0, "max_tries": 1,
    }
    return Claim(**{**defaults, **changes})


def exited(code: int, **changes: Any) -> Ended:
    return Ended(id="e", pid=7, status=code << 8, **changes)


@pytest.mark.parametrize(("status", "code", "number"), [(0, 0, None), (3 << 8, 3, None), (9, None, 9), (15, None, 15), (None, None, None)])
def test_wait_status_in_the_operators_terms(status: int | None, code: int | None, number: int | None) -> None:
    seen = seen_by_operator(Ended(id="e", status=status))
    assert (seen.exit_code, seen.signal) == (code, number)


@pytest.mark.parametrize(
    ("outcome", "ended", "more", "state", "reason"),
    [
        (GOOD, exited(0), {}, S.SUCCESS, ""),
        (BAD, exited(3), {}, S.FAILED, "exit code 3"),
        (GOOD, exited(0), {"missing": ["/a", "/b"]}, S.FAILED, "it ended well, but its output /a, /b is missing"),
        (BAD, exited(3), {"missing": ["/a"]}, S.FAILED, "exit code 3"),
        (BAD, exited(0, killed="timeout"), {"timeout": 5.0}, S.FAILED, "timeout after 5s"),
        (GOOD, exited(0, killed="cancelled"), {"stop": Stop.CANCELLED}, S.CANCELLED, "cancelled"),
        (BAD, exited(1), {"stop": Stop.STOPPED}, S.FAILED, "stopped by a person"),
        (BAD, exited(1), {"stop": Stop.REQUEUED}, S.UP_FOR_RESCHEDULE, "its worker was stopped"),
        (BAD, Ended(id="e", error="no such file"), {}, S.FAILED, "could not be started: no such file"),
        (BAD, Ended(id="e", lost=True), {}, S.LOST, "lost: its exit code is unknown, because the shepherd that watched it is gone"),
        (BAD, Ended(id="e", status=KILLED, rss=3 << 30), {}, S.FAILED, "exit code 3, perhaps out of memory: peak memory 3.0 GB"),
        (BAD, Ended(id="e", status=KILLED, rss=3 << 20, oom=True), {}, S.FAILED, "exit code 3, out of memory: peak memory 3 MB"),
        (BAD, exited(137, rss=3 << 20, oom=True), {}, S.FAILED, "exit code 3, out of memory: peak memory 3 MB"),
        (BAD, exited(3), {"limit": "too many open files: it may have 64"}, S.FAILED, "exit code 3, too many open files: it may have 64"),
        (GOOD, exited(0), {"limit": "none"}, S.SUCCESS, ""),
        (BAD, Ended(id="e", status=KILLED, killed="killed"), {}, S.FAILED, "exit code 3"),
    ],
)
def test_what_rqflow_did_overrules_the_operator(outcome: Outcome, ended: Ended, more: dict[str, Any], state: TaskState, reason: str) -> None:
    found = overrule(outcome, ended, **{"stop": None, "timeout": None, "missing": [], **more})
    assert (found.state, found.reason) == (state, reason)


@pytest.mark.parametrize(
    ("ended", "wanted", "why"),
    [
        (exited(1), Stop.REQUEUED, Stop.REQUEUED),
        (exited(0), Stop.REQUEUED, None),
        (exited(0, killed="cancelled"), Stop.CANCELLED, Stop.CANCELLED),
        (exited(1, killed="stopped by a person"), None, Stop.STOPPED),
        (Ended(id="e"), Stop.CANCELLED, Stop.CANCELLED),
        (exited(1, killed="timeout"), None, None),
        (exited(1), None, None),
    ],
)
def test_stop_counts_unless_the_task_had_ended_well_before(ended: Ended, wanted: Stop | None, why: Stop | None) -> None:
    assert stopped(ended, wanted) == why


@pytest.mark.parametrize(
    ("outcome", "claim", "state", "retry_in"),
    [
        (GOOD, a_claim(max_tries=3), S.SUCCESS, 0.0),
        (BAD, a_claim(max_tries=1), S.FAILED, 0.0),
        (BAD, a_claim(max_tries=3), S.UP_FOR_RETRY, 30.0),
        (BAD, a_claim(max_tries=3, try_number=3), S.FAILED, 0.0),
        (Outcome(state=S.FAILED, retry=False), a_claim(max_tries=3), S.FAILED, 0.0),
        (Outcome(state=S.FAILED, retry_in=5.0), a_claim(max_tries=3), S.UP_FOR_RETRY, 5.0),
        (Outcome(state=S.UP_FOR_RESCHEDULE, retry_in=7.0), a_claim(), S.UP_FOR_RESCHEDULE, 7.0),
        (Outcome(state=S.CANCELLED, retry=False), a_claim(max_tries=3), S.CANCELLED, 0.0),
    ],
)
def test_failure_is_retried_while_tries_are_left(outcome: Outcome, claim: Claim, state: TaskState, retry_in: float) -> None:
    told = end(claim, a_task("t", retry_delay=30.0), outcome, exited(3), Facts())
    assert (told.state, told.retry_in) == (state, retry_in)


def test_unknown_task_gets_no_retry() -> None:
    assert end(a_claim(max_tries=3), None, BAD, exited(3), Facts()).state == S.FAILED


def test_end_carries_what_is_known() -> None:
    told = end(a_claim(), None, BAD, exited(3, cpu=1.5, rss=100, started=10.0, ended=12.0), Facts(host="h", log_bytes=5, ended_ago=1.0))
    assert told.facts == {"host": "h", "pid": 7, "exit_code": 3, "cpu_seconds": 1.5, "max_rss_bytes": 100, "log_bytes": 5}
    assert (told.duration, told.ended_ago) == (2.0, 1.0)


def test_duration_is_never_negative() -> None:
    assert end(a_claim(), None, BAD, exited(3, started=12.0, ended=10.0), Facts()).duration == 0.0


@pytest.mark.parametrize(
    ("outcome", "ended", "lines"),
    [
        (GOOD, exited(0, started=0.0, ended=12.34, cpu=4.51, rss=123 << 20), ["exit code 0, 12.3 s, CPU 4.5 s, 123 MB"]),
        (BAD, exited(3), ["exit code 3, 0.0 s, CPU 0.0 s, 0 KB"]),
        (
            Outcome(state=S.FAILED, reason="timeout after 5s"),
            Ended(id="e", status=KILLED),
            ["timeout after 5s (killed by signal 9 (KILL)), 0.0 s, CPU 0.0 s, 0 KB"],
        ),
        (Outcome(state=S.FAILED, reason="could not be started: x"), Ended(id="e", error="x"), ["could not be started: x"]),
        (GOOD, exited(0, left=("pid 1 (a)",)), ["left running: pid 1 (a)", "exit code 0, 0.0 s, CPU 0.0 s, 0 KB"]),
        (BAD, exited(3, survivors=("pid 1 (a)",)), ["could not be killed: pid 1 (a)", "exit code 3, 0.0 s, CPU 0.0 s, 0 KB"]),
        (GOOD, exited(0, notes=("no cgroup",)), ["no cgroup", "exit code 0, 0.0 s, CPU 0.0 s, 0 KB"]),
        (GOOD, exited(0, oom=True),
         ["the kernel killed something of it for want of memory, though it ended well", "exit code 0, 0.0 s, CPU 0.0 s, 0 KB"]),
        (BAD, exited(3, partial=("f.partial-1",)), ["what it left was renamed to f.partial-1", "exit code 3, 0.0 s, CPU 0.0 s, 0 KB"]),
    ],
)
def test_last_lines_of_a_log(outcome: Outcome, ended: Ended, lines: list[str]) -> None:
    assert closing_lines(outcome, ended) == lines
