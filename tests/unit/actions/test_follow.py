from __future__ import annotations

import pytest

from rqflow.actions import follow
from rqflow.actions.follow import Snapshot
from rqflow.actions.model import TaskInstance
from rqflow.states import RunState, TaskState


def a_snapshot(*states: TaskState, queue: str = "gpu") -> Snapshot:
    tasks = [TaskInstance(task_id=f"t{number}", state=state, queue=queue) for number, state in enumerate(states)]
    return Snapshot(state=RunState.RUNNING, tasks=tuple(tasks))


@pytest.mark.parametrize(("states", "stuck"), [
    ((TaskState.QUEUED, TaskState.PENDING, TaskState.SUCCESS), ["t0"]),
    ((TaskState.QUEUED, TaskState.RUNNING), []),
    ((TaskState.QUEUED, TaskState.UP_FOR_RETRY), []),
    ((TaskState.SUCCESS, TaskState.PENDING), []),
])
def test_a_run_stalls_when_all_that_could_go_on_waits_on_queues_nobody_serves(states: tuple[TaskState, ...], stuck: list[str]) -> None:
    assert [task.task_id for task in follow.stall(a_snapshot(*states), lambda _: False)] == stuck
    assert follow.stall(a_snapshot(*states), lambda queue: queue == "gpu") == []


def test_each_queue_is_asked_about_once_however_many_tasks_wait_on_it() -> None:
    asked: list[str] = []
    follow.stall(a_snapshot(*[TaskState.QUEUED] * 100), lambda queue: bool(asked.append(queue)))
    assert asked == ["gpu"]
