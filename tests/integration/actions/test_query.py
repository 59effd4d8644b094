"""What is told of a run while it goes on, and while no recorder has written of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rqflow.actions import query, rewrite
from rqflow.actions.model import Run
from rqflow.exceptions import RunNotFound, TaskNotFound
from rqflow.states import RunState, TaskState
from tests.integration.actions.hub import Hub
from tests.integration.broker import playing
from tests.unit.builders import a_version

pytestmark = pytest.mark.parametrize("database", ["sqlite"])


def tries(run: Run) -> dict[str, list[tuple[int, TaskState, int | None]]]:
    return {task.task_id: [(one.try_number, one.state, one.exit_code) for one in task.tries] for task in run.tasks}


def test_all_tries_are_told_though_nothing_of_them_is_recorded_yet(hub: Hub) -> None:
    run = hub.start(a_version({"a": [], "b": ["a"]}, dag_id="line"))
    for state in (TaskState.FAILED, TaskState.FAILED, TaskState.SUCCESS):
        for claim in playing.claim(hub.broker):
            playing.tell(hub.broker, playing.end(claim, state, facts={"exit_code": 0 if state is TaskState.SUCCESS else 7}))
        rewrite.clear(hub.broker, hub.engine, run, [0], by="ann")
    playing.play(hub.broker)
    shown = query.show(hub.broker, hub.engine, run.run_key)
    assert (shown.state, [one[:2] for one in tries(shown)["a"]]) == (
        RunState.SUCCESS, [(1, TaskState.FAILED), (2, TaskState.FAILED), (3, TaskState.SUCCESS), (4, TaskState.SUCCESS)])
    assert [one[2] for one in tries(shown)["a"][:3]] == [7, 7, 0]
    hub.recorder.step(block_ms=0)
    assert tries(query.show(hub.broker, hub.engine, run.run_key)) == tries(shown), "half of it is recorded"
    hub.record()
    assert tries(query.show(hub.broker, hub.engine, run.run_key)) == tries(shown)


def test_one_task_is_told_as_with_all_others_at_any_time(hub: Hub) -> None:
    run = hub.start(a_version({"a": [], "b": ["a"]}, dag_id="line"))

    def both() -> None:
        whole = query.show(hub.broker, hub.engine, run.run_key)
        for task in whole.tasks:
            assert query.show_task(hub.broker, hub.engine, run.run_key, task.task_id) == replace(whole, tasks=(task,))

    both()
    (claim,) = playing.claim(hub.broker)
    both()
    playing.tell(hub.broker, playing.end(claim, facts={"exit_code": 0}))
    both()
    playing.play(hub.broker, {"b": TaskState.FAILED})
    both()
    hub.forget(run)
    both()
    with pytest.raises(TaskNotFound):
        query.show_task(hub.broker, hub.engine, run.run_key, "c")
    with pytest.raises(RunNotFound):
        query.show_task(hub.broker, hub.engine, "0" * 16, "a")
