"""Counting what happened, from the changes of states as the history tells them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rqflow.deploy.tally import Tally
from rqflow.store.figures import Happening

START = datetime(2026, 11, 29, 12, tzinfo=UTC)
TASK = Happening(seq=1_000_000, kind="ti", event="queued", dag_id="d", run_key="r", task_id="t", try_number=1, queue="default", started_at=START,
                 ended_at=START + timedelta(seconds=4), max_rss_bytes=10, log_bytes=7, run_type=None, run_started_at=None, run_ended_at=None, due_at=None)
RUN = replace(TASK, kind="run", task_id="", run_type="scheduled", run_started_at=START, run_ended_at=START + timedelta(minutes=1),
              due_at=START - timedelta(seconds=3))


def test_a_task_is_counted_once_with_what_it_took() -> None:
    tally = Tally()
    tally.take([TASK, replace(TASK, event="running", seq=3_500_000), replace(TASK, event="success", seq=9_000_000)])
    assert tally.tasks == {("d", "", "success"): 1}
    assert (tally.task_seconds["d", ""].count, tally.task_seconds["d", ""].seconds) == (1, 4.0)
    waits = tally.queue_waits["default"]
    assert (waits.count, waits.seconds, waits.within) == (1, 2.5, [0, 0, 1, 1, 1, 1, 1, 1])
    assert tally.log_bytes == 7


def test_a_retry_and_a_lost_task_are_counted_as_such() -> None:
    tally = Tally(by_task=True)
    tally.take([replace(TASK, event="up_for_retry"), replace(TASK, event="lost", try_number=2)])
    assert (tally.retries, tally.lost, tally.tasks) == ({"d": 1}, 1, {("d", "t", "lost"): 1})
    assert tally.task_seconds["d", "t"].count == 2
    assert tally.max_rss == {("d", "t"): 10}


def test_runs_are_counted_by_how_they_ended_and_scheduled_ones_by_their_delay() -> None:
    tally = Tally()
    tally.take([replace(RUN, event="running"), replace(RUN, event="failed"), replace(RUN, event="success", run_type=None)])
    assert tally.runs == {("d", "failed", "scheduled"): 1, ("d", "success", "unknown"): 1}
    assert tally.run_seconds["d", "failed"].seconds == 60
    assert tally.schedule_delays["d"].seconds == 3


def test_a_task_that_was_not_run_took_no_time() -> None:
    tally = Tally()
    tally.take([replace(TASK, event="skipped", try_number=0, queue=None, started_at=None, ended_at=None, max_rss_bytes=None, log_bytes=None)])
    assert tally.tasks == {("d", "", "skipped"): 1}
    assert not tally.task_seconds
