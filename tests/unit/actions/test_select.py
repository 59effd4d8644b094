from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rqflow.actions import select
from rqflow.actions.select import ByDate, ByName, Latest, RunReference
from rqflow.exceptions import TaskNotFound, UsageError
from rqflow.states import TaskState
from tests.unit.builders import a_task, a_version


@pytest.mark.parametrize(("text", "reference"), [
    ("manual__2026", ByName(text="manual__2026")),
    ("d@latest", Latest(dag_id="d")),
    ("d@last-failed", Latest(dag_id="d", failed=True)),
    ("d@2026-11-23T00:00", ByDate(dag_id="d", logical_date=datetime(2026, 11, 23, tzinfo=UTC))),
    ("d@2026-11-23T02:00+02:00", ByDate(dag_id="d", logical_date=datetime(2026, 11, 23, tzinfo=UTC))),
    ("me@home", ByName(text="me@home")),
    ("@latest", ByName(text="@latest")),
])
def test_run_arguments_are_understood(text: str, reference: RunReference) -> None:
    assert select.run_reference(text) == reference


VERSION = a_version({"a": [], "b1": ["a"], "b2": ["a"], "c": ["b1", "b2"], "d": ["c"]}, specs=[a_task("b1", group_id="g"), a_task("b2", group_id="g.h")])


@pytest.mark.parametrize(("selector", "names"), [
    ("a", "a"), ("b*", "b1 b2"), ("+c", "a b1 b2 c"), ("c+", "c d"), ("+b1+", "a b1 c d"), ("group:g", "b1 b2"), ("group:g.h", "b2"),
    ("state:failed", "b2"), ("*", "a b1 b2 c d"), ("state:failed+", "b2 c d"),
])
def test_task_arguments_are_understood(selector: str, names: str) -> None:
    found = select.tasks(VERSION, selector, {"a": TaskState.SUCCESS, "b2": TaskState.FAILED})
    assert {VERSION.tasks[index].task_id for index in found} == set(names.split())


def test_a_task_that_is_not_there_is_an_error_with_the_nearest_name() -> None:
    version = a_version(["align", "sort"])
    with pytest.raises(TaskNotFound, match=r"d has no task algn\nDid you mean align\?"):
        select.tasks(version, "algn")


def test_a_command_for_one_task_refuses_several() -> None:
    with pytest.raises(UsageError, match="b\\* names 2 tasks"):
        select.one_task(VERSION, "b*")
