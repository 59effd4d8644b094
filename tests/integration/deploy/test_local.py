"""Runs in one go: the trial of DAGs and tasks, with a real shepherd and real processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rqflow.dag.version import Version
from rqflow.deploy import local
from rqflow.deploy.local import LocalRun, Result
from rqflow.exceptions import Conflict
from rqflow.settings import Settings
from rqflow.states import RunState, TaskState
from tests.unit.builders import a_run, a_task, a_version


@pytest.fixture
def echoed() -> list[bytes]:
    return []


@contextmanager
def trial(version: Version, home: Path, tmp_path: Path, echoed: list[bytes]) -> Iterator[LocalRun]:
    with local.opened(a_run(version), version, Settings(home=home), tmp_path / "work", echo=echoed.append) as run:
        yield run


def ran(version: Version, home: Path, tmp_path: Path, echoed: list[bytes], **options: Any) -> tuple[list[Result], RunState]:
    with trial(version, home, tmp_path, echoed) as run:
        return list(run.all_tasks(**options)), run.state()


def test_tasks_run_one_after_the_other_and_hand_xcoms_over(home: Path, tmp_path: Path, echoed: list[bytes]) -> None:
    commands = {"a": "echo one; echo two", "b": "echo {{ ti.xcom_pull('a') }} {{ ds }}"}
    results, state = ran(a_version({"a": [], "b": ["a"]}, commands=commands), home, tmp_path, echoed)
    assert [(result.task_id, result.state) for result in results] == [("a", TaskState.SUCCESS), ("b", TaskState.SUCCESS)]
    assert b"one\ntwo\n" in b"".join(echoed)
    assert b"two 2024-01-01\n" in b"".join(echoed)
    assert state is RunState.SUCCESS


@pytest.mark.parametrize(("rule", "command", "expected", "state"), [
    ("all_success", "exit 1", TaskState.UPSTREAM_FAILED, RunState.FAILED),
    ("all_done", "exit 1", TaskState.SUCCESS, RunState.SUCCESS),
    ("all_failed", "true", TaskState.SKIPPED, RunState.SUCCESS),
    ("all_success", "exit 99", TaskState.SKIPPED, RunState.SUCCESS),
])
def test_trigger_rules_decide(rule: str, command: str, expected: TaskState, state: RunState, home: Path, tmp_path: Path, echoed: list[bytes]) -> None:
    version = a_version({"a": [], "b": ["a"]}, specs=[a_task("b", trigger_rule=rule)], commands={"a": command})
    results, ended = ran(version, home, tmp_path, echoed)
    assert (results[1].state, ended) == (expected, state)


def test_retries_are_made_without_waiting(home: Path, tmp_path: Path, echoed: list[bytes]) -> None:
    version = a_version(specs=[a_task("a", "exit $((3 - $RQFLOW_TRY))", retries=5, retry_delay=3600.0)])
    (result,), _ = ran(version, home, tmp_path, echoed)
    assert (result.state, result.try_number, result.max_tries, result.exit_code) == (TaskState.SUCCESS, 3, 6, 0)


def test_only_the_chosen_tasks_run(home: Path, tmp_path: Path, echoed: list[bytes]) -> None:
    results, _ = ran(a_version({"a": [], "b": ["a"], "c": ["b"]}, commands={"a": "exit 1"}), home, tmp_path, echoed, only=[1])
    assert [result.task_id for result in results] == ["b"]


def test_a_timeout_ends_the_task(home: Path, tmp_path: Path, echoed: list[bytes]) -> None:
    version = a_version(specs=[a_task("a", "sleep 60", execution_timeout=0.3)])
    (result,), state = ran(version, home, tmp_path, echoed)
    assert (result.state, state) == (TaskState.FAILED, RunState.FAILED)
    assert "timeout" in result.reason


def test_a_task_that_cannot_be_rendered_fails_with_the_reason(home: Path, tmp_path: Path, echoed: list[bytes]) -> None:
    (result,), _ = ran(a_version(specs=[a_task("a", "echo {{ nope }}")]), home, tmp_path, echoed)
    assert result.state is TaskState.FAILED
    assert "nope" in result.reason


def test_its_folder_is_used_by_one_at_a_time(home: Path, tmp_path: Path, echoed: list[bytes]) -> None:
    with trial(a_version(), home, tmp_path, echoed), pytest.raises(Conflict), trial(a_version(), home, tmp_path, echoed):
        pass
