from __future__ import annotations

import pytest

import rqflow
from rqflow.exceptions import TaskFailed
from rqflow.operators.base import Ended, Outcome, from_result, returned, say_end, setup_lines, strings
from rqflow.operators.registry import OPERATORS, by_kind
from rqflow.states import TaskState
from tests.unit.builders import a_task, a_version
from tests.unit.operators.jobs import a_job, result


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (Ended(exit_code=0), ""),
        (Ended(exit_code=3), "exit code 3"),
        (Ended(exit_code=127), "exit code 127 (command not found)"),
        (Ended(exit_code=126), "exit code 126 (not executable)"),
        (Ended(exit_code=137), "exit code 137 (a command was killed by signal 9, KILL)"),
        (Ended(exit_code=255), "exit code 255"),
        (Ended(signal=9), "killed by signal 9 (KILL)"),
        (Ended(signal=40), "killed by signal 40 (unknown)"),
        (Ended(), "exit code unknown"),
    ],
)
def test_end_in_words(ended: Ended, said: str) -> None:
    assert say_end(ended) == said


def test_kinds_are_registered_under_their_names() -> None:
    assert set(OPERATORS) > {"bash", "python", "branch_python", "short_circuit", "empty", "sensor", "file_sensor", "sql"}
    assert all(cls.kind == kind for kind, cls in OPERATORS.items())
    with pytest.raises(TaskFailed, match="no operator 'ssh'"):
        by_kind("ssh")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("success", TaskState.SUCCESS), ("failed", TaskState.FAILED), ("skipped", TaskState.SKIPPED), ("reschedule", TaskState.UP_FOR_RESCHEDULE),
        ("nonsense", TaskState.FAILED),
    ],
)  # fmt: skip
def test_result_of_a_python_child_is_taken_over(state: str, expected: TaskState) -> None:
    job = a_job(a_version({"a": [], "b": ["a"], "c": ["b"]}))
    found = from_result(result(5, state, reason="why", skip=["c", "unknown"], retry=False, retry_in=7.0), job)
    assert found == Outcome(state=expected, reason="why", xcoms={"return_value": "5"}, skip=(2,), retry=False, retry_in=7.0)


def test_failure_without_a_reason_gets_one() -> None:
    assert from_result(result(state="failed"), a_job()).reason == "exit code 1"


def test_python_child_without_result_failed() -> None:
    assert from_result(Ended(signal=11), a_job()).reason == "killed by signal 11 (SEGV)"
    found = from_result(Ended(exit_code=0), a_job())
    assert (found.state, found.reason) == (TaskState.FAILED, "the Python process ended without a result")


def test_return_value_is_dropped_when_the_task_pushes_none_but_others_stay() -> None:
    job = a_job(a_version(specs=[a_task(do_xcom_push=False)]))
    assert from_result(result(5, xcoms={"return_value": "5", "k": "1"}), job).xcoms == {"k": "1"}


def test_returned_value() -> None:
    assert returned(result({"a": [1]})) == {"a": [1]}
    assert returned(Ended(exit_code=1)) is None
    assert returned(Ended(result={"state": "success", "xcoms": None})) is None


def test_small_parts() -> None:
    assert setup_lines(None) == setup_lines("") == ""
    assert strings({"A": 1, "B": None, 3: "x"}) == {"A": "1", "B": "", "3": "x"}
    assert strings(None) == {}


def test_authors_import_each_operator_from_the_facade() -> None:
    assert {operator.__name__ for operator in OPERATORS.values()} <= set(rqflow.__all__)
    assert all(getattr(rqflow, name).__name__ == name for name in rqflow.__all__ if name.endswith(("Operator", "Sensor", "Hook")))
