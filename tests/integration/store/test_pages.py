"""Pages by number: which rows, in which order, and how many there are; on every database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rqflow import clock
from rqflow.dag.run import MANUAL, RunInfo, run_key
from rqflow.states import RunState, TaskState
from rqflow.store import event_pages, events, run_pages, runs, task_pages, tasks, xcoms
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction
from rqflow.store.event_pages import EventPage
from rqflow.store.run_pages import CHANGED_AT, ENDED_AT, LOGICAL_DATE, STARTED_AT, Between, RunPage
from rqflow.store.task_pages import TaskPage

NOON = datetime(2026, 3, 29, 12, 0, 0, 123456, tzinfo=UTC)
DAY = timedelta(days=1)


def fill(engine: Engine) -> None:
    """Three runs of DAG d, a day apart, and one of e; of the first two it is known that they began, of the first also that it ended."""
    made = [RunInfo(dag_id=dag_id, run_id=f"{dag_id}{day}", run_type=MANUAL, version="v", created_at=NOON - day * DAY, logical_date=NOON + day * DAY,
                    data_interval_start=NOON, data_interval_end=NOON) for dag_id, day in (("d", 0), ("d", 1), ("d", 2), ("e", 0))]

    def write(connection: Connection) -> None:
        for run in made:
            runs.create(connection, run, state=RunState.RUNNING)
        for day, run in enumerate(made[:2]):
            ended = NOON + 2 * DAY if day == 0 else None
            runs.record_states(connection, [{
                "run_key": run.key, "dag_id": "d", "run_id": run.run_id, "state": (RunState.SUCCESS if ended else RunState.RUNNING).value,
                "seq": clock.to_micros(NOON + day * DAY), "started_at": NOON + day * DAY, "ended_at": ended}])
            for index, name in enumerate(("a", "b")):
                tasks.record_states(connection, [{
                    "run_key": run.key, "task_id": name, "task_index": index, "state": TaskState.SUCCESS.value, "try_number": 1, "seq": 1,
                    "max_tries": 1, "reason": "", "queue": "q", "pool": f"p{index}", "worker": "", "execution_id": "", "version": None,
                    "started_at": NOON, "ended_at": NOON + (index + 1) * timedelta(seconds=10), "updated_at": NOON + day * DAY}])
            xcoms.record(connection, [{"run_key": run.key, "task_id": "a", "key": key, "value": value, "seq": 1, "updated_at": NOON}
                                      for key, value in (("x", "1"), ("gone", None))])

    run_in_transaction(engine, write)


def ids(engine: Engine, wanted: RunPage) -> tuple[list[str], int]:
    with reading(engine) as connection:
        found, total = run_pages.page(connection, wanted)
    return [one.run_id for one in found], total


def test_runs_come_in_order_by_place_and_by_their_moments(engine: Engine) -> None:
    fill(engine)
    of_d = {"dag_ids": ["d"]}
    assert ids(engine, RunPage(**of_d)) == (["d2", "d1", "d0"], 3)
    assert ids(engine, RunPage(**of_d, order=LOGICAL_DATE, descends=True, offset=1, limit=1)) == (["d1"], 3)
    # What has not ended stands last, whichever way it is ordered.
    for descends in (False, True):
        assert ids(engine, RunPage(**of_d, order=ENDED_AT, descends=descends))[0][0] == "d0"
    assert ids(engine, RunPage(moments={LOGICAL_DATE: Between(since=NOON + DAY)}, order=LOGICAL_DATE)) == (["d1", "d2"], 2)
    assert ids(engine, RunPage(moments={STARTED_AT: Between(until=NOON)})) == (["d0"], 1)
    assert ids(engine, RunPage(moments={CHANGED_AT: Between(since=NOON, until=NOON)})) == (["d0"], 1)
    assert ids(engine, RunPage(states={RunState.SUCCESS}, dag_ids=["d", "e"])) == (["d0"], 1)
    assert ids(engine, RunPage(dag_ids=[])) == ([], 0)


def test_task_instances_come_by_run_and_place(engine: Engine) -> None:
    fill(engine)

    def names(wanted: TaskPage) -> tuple[list[str], int]:
        with reading(engine) as connection:
            found, total = task_pages.page(connection, wanted)
        return [f"{one.run_id}.{one.task_id}" for one in found], total

    assert names(TaskPage(limit=3)) == (["d0.a", "d0.b", "d1.a"], 4)
    assert names(TaskPage(run_ids=["d1"], pools=["p1"], states={TaskState.SUCCESS})) == (["d1.b"], 1)
    assert names(TaskPage(moments={LOGICAL_DATE: Between(since=NOON + DAY), task_pages.UPDATED_AT: Between(until=NOON)})) == ([], 0)
    assert names(TaskPage(shortest=11.0, offset=1)) == (["d1.b"], 2)
    assert names(TaskPage(longest=10.0, limit=1)) == (["d0.a"], 2)
    with reading(engine) as connection:
        found, total = task_pages.xcoms(connection, dag_ids=["d"], limit=1, offset=1)
    assert ([(one.run_key, one.key, one.updated_at) for one in found], total) == ([(run_key("d", "d1"), "x", NOON)], 2)


def test_deeds_come_in_order_with_their_runs(engine: Engine) -> None:
    fill(engine)

    def write(connection: Connection) -> None:
        events.add(connection, "paused", who="ann", dag_id="d")
        events.add(connection, "run_cleared", who="bob", dag_id="d", run_key=run_key("d", "d1"), tasks=["a"])

    run_in_transaction(engine, write)

    def found(wanted: EventPage) -> list[tuple[str, str | None]]:
        with reading(engine) as connection:
            rows, total = event_pages.page(connection, wanted)
        assert total >= len(rows)
        return [(one.record.event, one.run_id) for one in rows]

    assert found(EventPage()) == [("paused", None), ("run_cleared", "d1")]
    assert found(EventPage(descends=True, limit=1)) == [("run_cleared", "d1")]
    assert found(EventPage(run_id="d1")) == found(EventPage(who="bob")) == found(EventPage(excluded=["paused"])) == [("run_cleared", "d1")]
    assert found(EventPage(after=NOON, before=NOON)) == []
