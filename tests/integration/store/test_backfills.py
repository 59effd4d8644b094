"""Backfills in the history, on each kind of database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from rqflow.dag.backfill import Rerun
from rqflow.dag.run import BACKFILL, MANUAL, SCHEDULED, RunInfo, RunOptions
from rqflow.states import BackfillState, RunState, TaskState
from rqflow.store import backfills, dags, runs, tasks
from rqflow.store.backfills import BackfillRecord, Tally
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction, transaction
from tests.unit.builders import a_task, a_version

DAY = timedelta(days=1)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def a_backfill(**changes: Any) -> BackfillRecord:
    known: dict[str, Any] = {
        "id": 0, "dag_id": "d", "version": "v", "series_start": FIRST, "from_date": FIRST, "to_date": FIRST + 9 * DAY, "newest_first": False,
        "rerun": Rerun.FAILED, "max_active": 3, "marks": False, "ignores_first_past": True, "options": RunOptions(task_regex="é", pool="p"),
        "conf": {"x": [1]}, "state": BackfillState.QUEUED, "reason": "", "upto": None, "total": 10, "is_counted": True, "made": 0, "skipped": 0,
        "succeeded": 0, "failed": 0, "who": "ann", "created_at": FIRST, "started_at": None, "ended_at": None,
    }
    return BackfillRecord(**{**known, **changes})


def make(engine: Engine, **changes: Any) -> BackfillRecord:
    with transaction(engine) as connection:
        found = backfills.get(connection, backfills.create(connection, a_backfill(**changes)))
    assert found
    return found


def look(engine: Engine, number: int) -> BackfillRecord:
    with reading(engine) as connection:
        found = backfills.get(connection, number)
    assert found
    return found


def a_run(day: int, *, kind: str = BACKFILL, name: str | None = None, **changes: Any) -> RunInfo:
    at = FIRST + day * DAY
    return RunInfo(dag_id="d", run_id=name or f"{kind}__{at.isoformat()}", run_type=kind, version="v", logical_date=at, data_interval_start=at,
                   data_interval_end=at + DAY, created_at=at, **changes)


def test_a_backfill_comes_back_as_it_was_written(engine: Engine) -> None:
    first, second = make(engine), make(engine, dag_id="e", state=BackfillState.PAUSED)
    assert first == a_backfill(id=first.id)
    assert second.id > first.id
    with reading(engine) as connection:
        assert [one.id for one in backfills.search(connection)] == [second.id, first.id]
        assert [one.id for one in backfills.search(connection, dag_id="d", limit=1)] == [first.id]
        assert [one.id for one in backfills.search(connection, states={BackfillState.PAUSED})] == [second.id]
        assert [one.id for one in backfills.unfinished(connection)] == [first.id, second.id]


def test_a_backfill_is_led_on_by_one_alone(engine: Engine) -> None:
    before = make(engine)
    with ThreadPoolExecutor(4) as pool:
        ask = partial(run_in_transaction, engine, partial(backfills.advance, before=before, upto=FIRST + DAY, made=2, skipped=1))
        assert sum(pool.map(lambda _: ask(), range(4))) == 1
    now = look(engine, before.id)
    assert (now.upto, now.made, now.skipped) == (FIRST + DAY, 2, 1)


def test_a_state_changes_only_from_those_that_were_meant(engine: Engine) -> None:
    number = make(engine).id
    with transaction(engine) as connection:
        assert not backfills.change(connection, number, {BackfillState.PAUSED}, BackfillState.RUNNING)
        assert backfills.change(connection, number, {BackfillState.QUEUED}, BackfillState.RUNNING)
        assert backfills.end(connection, number, BackfillState.FAILED, Tally(succeeded=3, failed=1), reason="why")
        assert not backfills.end(connection, number, BackfillState.SUCCESS, Tally())
    ended = look(engine, number)
    assert (ended.state, ended.reason, ended.succeeded, ended.failed, ended.is_finished) == (BackfillState.FAILED, "why", 3, 1, True)
    assert ended.started_at is not None
    assert ended.ended_at is not None


@pytest.mark.parametrize(("first", "last", "is_found"), [(-3, -1, False), (-3, 0, True), (4, 5, True), (9, 20, True), (10, 20, False)])
def test_backfills_of_the_same_dates_are_found_while_they_go_on(first: int, last: int, is_found: bool, engine: Engine) -> None:
    number = make(engine).id
    make(engine, state=BackfillState.SUCCESS, from_date=FIRST - 9 * DAY, to_date=FIRST + 30 * DAY)
    make(engine, dag_id="e", from_date=FIRST - 9 * DAY, to_date=FIRST + 30 * DAY)
    with reading(engine) as connection:
        found = backfills.overlapping(connection, "d", FIRST + first * DAY, FIRST + last * DAY)
    assert (found is not None and found.id == number) is is_found


def test_a_date_has_one_run_of_a_schedule_or_a_backfill(engine: Engine) -> None:
    with transaction(engine) as connection:
        made = [runs.create(connection, a_run(0, kind=kind)) for kind in (BACKFILL, SCHEDULED, MANUAL)]
        assert made == [True, False, True]
        assert not runs.create(connection, a_run(0, name="another"))


def test_the_run_that_a_date_has_is_its_own_one_before_others(engine: Engine) -> None:
    number = make(engine).id

    def write(connection: Connection) -> None:
        for run in (a_run(0, backfill_id=number), a_run(0, kind=MANUAL), a_run(1, kind=MANUAL, name="first"), a_run(1, kind=MANUAL, name="second"),
                    a_run(2, kind=MANUAL, backfill_id=number, name="ours"), a_run(2, kind=SCHEDULED), a_run(5)):
            runs.create(connection, run)

    run_in_transaction(engine, write)
    with reading(engine) as connection:
        found = backfills.found(connection, "d", FIRST, FIRST + 4 * DAY, number)
        names = {(date - FIRST).days: one.run_id.partition("__")[0] for date, one in found.items()}
        assert names in ({0: "backfill", 1: "first", 2: "ours"}, {0: "backfill", 1: "second", 2: "ours"})
        assert backfills.found(connection, "d", FIRST, FIRST + 4 * DAY)[FIRST + 2 * DAY].run_id.startswith("scheduled")
        assert backfills.taken_run_ids(connection, "d") == {}


def test_a_run_that_is_to_be_run_again_is_active_until_something_new_is_told_of_it(engine: Engine) -> None:
    number = make(engine).id
    run = a_run(0)

    def tell(state: RunState, seq: int) -> None:
        row = {"run_key": run.key, "dag_id": "d", "run_id": run.run_id, "state": state.value, "seq": seq, "started_at": FIRST, "ended_at": FIRST}
        with transaction(engine) as connection:
            runs.record_states(connection, [row])

    def stands() -> tuple[Tally, int, int]:
        with reading(engine) as connection:
            return (backfills.tally(connection, number), len(backfills.active_runs(connection, number)), len(backfills.failed_runs(connection, number)))

    with transaction(engine) as connection:
        runs.create(connection, run)
    tell(RunState.FAILED, 100)
    assert stands() == (Tally(), 0, 0)
    with transaction(engine) as connection:
        backfills.run_again(connection, number, run.key, after=100)
    assert stands() == (Tally(active=1), 1, 0)
    tell(RunState.RUNNING, 101)
    assert stands() == (Tally(active=1), 1, 0)
    tell(RunState.CANCELLED, 102)
    assert stands() == (Tally(failed=1), 0, 1)
    with transaction(engine) as connection:
        backfills.run_again(connection, number, run.key, after=102)
        backfills.run_again(connection, number, run.key, after=None)
    tell(RunState.SUCCESS, 103)
    assert stands() == (Tally(succeeded=1), 0, 0)


def test_marking_a_date_writes_all_that_a_run_of_it_would_have_left(engine: Engine) -> None:
    version = a_version(specs=[a_task("a", pool="p"), a_task("b", retries=2)], dag_id="d")
    with transaction(engine) as connection:
        dags.save_version(connection, version)
        run = a_run(0)
        assert backfills.mark(connection, run, version.tasks, by="ann")
        assert not backfills.mark(connection, run, version.tasks, by="bob")
        assert not backfills.mark(connection, a_run(0, name="other"), version.tasks, by="bob")
    with reading(engine) as connection:
        record, rows = runs.by_key(connection, run.key), tasks.of_run(connection, run.key)
    assert record
    assert (record.state, record.is_finished, record.ended_at is not None, record.seq > 0) == (RunState.SUCCESS, True, True, True)
    assert [(row.task_id, row.state, row.reason, row.pool) for row in rows] == [
        ("a", TaskState.SUCCESS, "marked success by ann", "p"), ("b", TaskState.SUCCESS, "marked success by ann", "default_pool")]
