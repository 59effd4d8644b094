from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from rqflow import clock
from rqflow.exceptions import PoolNotFound
from rqflow.states import TaskState
from rqflow.store import events, pools, tasks
from rqflow.store.engine import Engine, transaction
from rqflow.store.events import EventFilter

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_pools_are_made_changed_and_removed(engine: Engine) -> None:
    with transaction(engine) as connection:
        assert pools.put(connection, "gpu", 2, description="cards")
        assert not pools.put(connection, "gpu", 3)
        assert pools.put(connection, "GPU", 1)
        assert pools.get(connection, "gpu") == pools.PoolRecord(name="gpu", slots=3, description="cards")
        assert [pool.name for pool in pools.list_all(connection)] == ["GPU", "gpu"]
        pools.remove(connection, "gpu")
        assert pools.get(connection, "gpu") is None
        with pytest.raises(PoolNotFound, match="no pool gpu"):
            pools.remove(connection, "gpu")


def test_deeds_are_listed_newest_first_and_in_pages(engine: Engine) -> None:
    before = clock.utcnow()
    with transaction(engine) as connection:
        for n in range(5):
            events.add(connection, "paused", who="ada\0", dag_id="d" if n % 2 else "e", number=n, why="<b>\0")
        found = events.search(connection)
        assert [json.loads(event.detail)["number"] for event in found] == [4, 3, 2, 1, 0]
        assert (found[0].event, found[0].who, found[0].kind) == ("paused", "ada\ufffd", "audit")
        assert before <= found[0].at <= clock.utcnow()
        page = events.search(connection, limit=2)
        assert page + events.search(connection, limit=9, after=(page[-1].seq, page[-1].source)) == found
        assert len(events.search(connection, EventFilter(dag_id="d", kinds=["audit"], since=before))) == 2
        assert events.search(connection, EventFilter(until=before)) == []


def a_row(task_id: str, state: TaskState, index: int = 0, **changes: object) -> dict[str, object]:
    texts = dict.fromkeys(("reason", "queue", "pool", "worker", "execution_id"), "")
    plain = {"run_key": "k" * 16, "task_id": task_id, "task_index": index, "state": state.value, "try_number": 1, "seq": 1, "max_tries": 1}
    return {**plain, **texts, "started_at": None, "ended_at": None, "updated_at": NOON, **changes}


def test_tasks_are_listed_by_run(engine: Engine) -> None:
    with transaction(engine) as connection:
        tasks.record_states(connection, [
            a_row("z", TaskState.FAILED, 0), a_row("a", TaskState.SUCCESS, 1, updated_at=NOON + HOUR), a_row("x", TaskState.FAILED, run_key="o" * 16),
        ])
        assert [task.task_id for task in tasks.of_run(connection, "k" * 16)] == ["z", "a"]
        assert [task.task_id for task in tasks.of_run(connection, "k" * 16, states=[TaskState.SUCCESS])] == ["a"]
        assert tasks.counts(connection, ["k" * 16]) == {"k" * 16: {TaskState.FAILED: 1, TaskState.SUCCESS: 1}}
        assert tasks.get(connection, "k" * 16, "Z") is None
        assert tasks.task_ids(connection, {("k" * 16, 1), ("k" * 16, 5)}) == {("k" * 16, 1): "a"}
