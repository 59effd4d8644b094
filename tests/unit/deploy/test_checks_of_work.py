"""What a doctor says of workers, their clocks and disks, and of what has waited for long."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rqflow.actions.verdict import Verdict
from rqflow.broker.status import WorkerStatus
from rqflow.deploy.checks import work

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
WELL = WorkerStatus(name="w1", host="h", pid=1, state="idle", queues=("default",), labels=(), slots=4, running=0, last_heartbeat=NOW, clock_offset=0.1,
                    disk_free=10 << 30)


def test_a_clock_that_is_off_and_a_disk_that_is_nearly_full_are_told_with_their_worker() -> None:
    assert list(work.machines([WELL, replace(WELL, clock_offset=None, disk_free=None)], 512 << 20)) == []
    clocks, disks = work.machines([WELL, replace(WELL, name="w2", clock_offset=-7.5, disk_free=1 << 20), replace(WELL, name="w3", clock_offset=3.0)],
                                        512 << 20)
    assert (clocks.verdict, "2 off that of Redis, such as w2 by -7.5 s" in clocks.detail) == (Verdict.WARNING, True)
    assert (disks.verdict, "w2: less than 512 MiB" in disks.detail) == (Verdict.PROBLEM, True)


def test_a_task_that_waits_for_long_counts_only_on_a_queue_that_is_served() -> None:
    oldest = {"default": NOW - timedelta(hours=3), "gpu": NOW - timedelta(days=3)}
    found = work.stuck(oldest, NOW, [WELL])
    assert (found.verdict, "default a task has waited 3.0 h" in found.detail) == (Verdict.WARNING, True)
    assert work.stuck({"gpu": NOW - timedelta(days=3)}, NOW, [WELL]).verdict is Verdict.OK
    assert work.stuck({"default": NOW - timedelta(minutes=59)}, NOW, [WELL]).verdict is Verdict.OK
