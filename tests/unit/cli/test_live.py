from __future__ import annotations

from datetime import UTC, datetime

import pytest
from rich.console import Console

from rqflow.actions.follow import Snapshot
from rqflow.actions.model import TaskInstance
from rqflow.cli import live
from rqflow.cli.output import Printer
from rqflow.states import RunState, TaskState

T0 = datetime(2026, 11, 23, tzinfo=UTC)


def a_snapshot(*tasks: TaskInstance, state: RunState = RunState.RUNNING) -> Snapshot:
    return Snapshot(state=state, tasks=tasks)


def text_of(snapshot: Snapshot, *, name: str = "r1", height: int = 40) -> str:
    console = Console(width=120, no_color=True)
    with console.capture() as capture:
        console.print(live.table(snapshot, name, lambda task: f"last of {task.task_id}", height=height))
    return capture.get()


def test_the_table_shows_state_try_duration_and_last_line() -> None:
    task = TaskInstance(task_id="a", state=TaskState.SUCCESS, try_number=2, max_tries=3, duration=3.21)
    assert "a     success  2/3  3.2s      last of a" in text_of(a_snapshot(task))


def test_the_totals_are_as_wide_as_the_screen() -> None:
    task = TaskInstance(task_id="a", state=TaskState.RUNNING)
    assert "manual__2026-11-23T14:08:14.686575+00:00: running; 1 running" in text_of(a_snapshot(task), name="manual__2026-11-23T14:08:14.686575+00:00")


def test_no_try_is_told_of_what_never_ran(capsys: pytest.CaptureFixture[str]) -> None:
    task = TaskInstance(task_id="a", state=TaskState.UPSTREAM_FAILED, try_number=1, max_tries=2)
    live.watch([a_snapshot(task)], Printer(), "r1", lambda _: "")
    assert capsys.readouterr().err == "a upstream_failed\n"
    assert "1/2" not in text_of(a_snapshot(task))


def test_a_reason_is_shown_in_place_of_the_log() -> None:
    assert "pool p is full" in text_of(a_snapshot(TaskInstance(task_id="a", state=TaskState.PARKED, reason="pool p is full")))


def test_what_does_not_fit_is_counted_and_running_tasks_stay() -> None:
    tasks = [TaskInstance(task_id=f"t{i}", state=TaskState.PENDING) for i in range(50)]
    tasks[49] = TaskInstance(task_id="busy", state=TaskState.RUNNING, try_number=1, started_at=T0)
    shown = text_of(a_snapshot(*tasks), height=14)
    assert "busy" in shown
    assert "… and 41 more" in shown


def test_the_totals_name_the_run_and_its_states() -> None:
    tasks = [TaskInstance(task_id="a", state=TaskState.SUCCESS), TaskInstance(task_id="b", state=TaskState.PENDING)]
    assert live.totals(a_snapshot(*tasks), "r1") == "r1: running; 1 success, 1 pending"


def test_off_a_terminal_each_change_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    queued = TaskInstance(task_id="a", state=TaskState.QUEUED, max_tries=2)
    failed = TaskInstance(task_id="a", state=TaskState.UP_FOR_RETRY, try_number=1, max_tries=2, started_at=T0, duration=1.5, reason="exit code 3")
    snapshots = [a_snapshot(queued), a_snapshot(queued), a_snapshot(failed, state=RunState.SUCCESS)]
    last = live.watch(snapshots, Printer(), "r1", lambda _: "")
    assert last is snapshots[-1]
    assert capsys.readouterr().err == "a queued\na up_for_retry (try 1 of 2) after 1.5s: exit code 3\n"
