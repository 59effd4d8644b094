"""Removing old runs and what nothing needs, on each database."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select, update

from rqflow import clock
from rqflow.dag.run import MANUAL, SCHEDULED, RunInfo
from rqflow.states import RunState
from rqflow.store import clean, dags, events, runs
from rqflow.store.engine import Engine, reading, run_in_transaction, transaction
from rqflow.store.tables import dag_run, dag_version, event_log, metadata, task_instance, task_try, worker, xcom
from tests.unit.builders import a_version

NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LATER = NOON + 1000 * DAY


def a_row(table: object, **values: object) -> dict[str, object]:
    """A row with something in each column that needs it."""
    plain = {"VARCHAR": "", "TEXT": "", "INTEGER": 0, "BIGINT": 0, "BOOLEAN": False}
    row = {}
    for column in table.columns:  # type: ignore[attr-defined]
        if not column.nullable and column.name not in values:
            kind = getattr(column.type, "impl", column.type)
            row[column.name] = NOON if "DATE" in str(kind).upper() else plain[str(kind).split("(")[0]]
    return {**row, **values}


def a_finished_run(engine: Engine, day: int, *, dag_id: str = "d", tasks: int = 2, scheduled: bool = False, state: RunState = RunState.SUCCESS,
                   version: str = "v") -> str:
    """A run that was made and ended on NOON + `day` days, with its rows in all tables; its key."""
    at = NOON + day * DAY
    info = RunInfo(dag_id=dag_id, run_id=f"r{day}", run_type=SCHEDULED if scheduled else MANUAL, version=version, logical_date=at,
                   data_interval_start=at, data_interval_end=at + DAY, created_at=at)
    names = [f"t{n:05}" for n in range(tasks)]
    with transaction(engine) as connection:
        runs.create(connection, info, state=state)
        connection.execute(update(dag_run).where(dag_run.c.run_key == info.key).values(ended_at=None if state is RunState.RUNNING else at))
        for table, more in ((task_instance, {}), (task_try, {"try_number": 1}), (xcom, {"key": "k"})):
            connection.execute(insert(table), [a_row(table, run_key=info.key, task_id=name, **more) for name in names])
        seq = clock.to_micros(at)
        rows = [a_row(event_log, seq=seq + n, source=f"{info.key[:11]}{n:05}", run_key=info.key, dag_id=dag_id) for n in range(tasks * 3)]
        connection.execute(insert(event_log), rows)
    return info.key


def cleaned(engine: Engine, before: datetime = LATER, *, keep_last: int = 1, live: tuple[str, ...] = (), limit: int = 1000) -> Counter[str]:
    """Remove all old runs as the action does; return the rows by table."""
    with reading(engine) as connection:
        left = [run.run_key for run in clean.old_runs(connection, before, keep_last, live)]
    removed: Counter[str] = Counter()
    while left:
        done, went = run_in_transaction(engine, lambda connection: clean.remove_runs(connection, left, before, limit))  # noqa: B023
        assert done or went.total(), "each step gets on"
        assert went.total() <= limit + 3 * len(clean._PARTS) + len(left), "a transaction is short"
        removed += went
        left = left[done:]
    return removed


def days(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return sorted(record.run_id for record in runs.search(connection))


def test_old_runs_go_with_all_that_belongs_to_them(engine: Engine) -> None:
    keys = [a_finished_run(engine, day) for day in range(4)]
    assert cleaned(engine, NOON + 2 * DAY) == {"dag_run": 2, "task_instance": 4, "task_try": 4, "xcom": 4, "event_log": 12}
    assert days(engine) == ["r2", "r3"]
    with reading(engine) as connection:
        for table in (task_instance, task_try, xcom, event_log):
            assert set(connection.execute(select(table.c.run_key)).scalars()) == set(keys[2:]), table.name


def test_newest_runs_of_each_dag_stay(engine: Engine) -> None:
    for day in range(5):
        a_finished_run(engine, day, tasks=1)
    a_finished_run(engine, 0, dag_id="rare", tasks=1)
    cleaned(engine, keep_last=3)
    assert days(engine) == ["r0", "r2", "r3", "r4"]
    cleaned(engine, keep_last=0)
    assert days(engine) == ["r0", "r4"]


def test_newest_scheduled_run_stays_because_the_schedule_goes_on_from_it(engine: Engine) -> None:
    for day in range(6):
        a_finished_run(engine, day, tasks=1, scheduled=day < 3)
    cleaned(engine)
    assert days(engine) == ["r2", "r5"]


@pytest.mark.parametrize("state", [RunState.RUNNING, RunState.QUEUED])
def test_runs_that_have_not_ended_and_those_that_redis_has_stay(engine: Engine, state: RunState) -> None:
    a_finished_run(engine, 0, state=state)
    live = a_finished_run(engine, 1)
    for day in (2, 3):
        a_finished_run(engine, day)
    cleaned(engine, live=(live,))
    assert days(engine) == ["r0", "r1", "r3"]


def test_a_large_run_goes_in_short_transactions(engine: Engine) -> None:
    a_finished_run(engine, 0, tasks=700)
    a_finished_run(engine, 1, tasks=1)
    a_finished_run(engine, 2, tasks=1)
    assert cleaned(engine, limit=100)["task_instance"] == 701
    assert days(engine) == ["r2"]


def test_run_that_was_cleared_meanwhile_stays(engine: Engine) -> None:
    key = a_finished_run(engine, 0)
    with transaction(engine) as connection:
        connection.execute(update(dag_run).values(state="running"))
        assert clean.remove_runs(connection, [key], LATER) == (1, Counter())


def test_versions_go_that_nothing_needs(engine: Engine) -> None:
    made = [a_version(sources={"d.py": str(n)}) for n in range(5)]
    with transaction(engine) as connection:
        for version in made:
            dags.save_version(connection, version)
    a_finished_run(engine, 0, version=made[1].sha)
    shas = [version.sha for version in made]
    with transaction(engine) as connection:
        assert clean.old_versions(connection, NOON - 9999 * DAY, []) == []
        old = clean.old_versions(connection, clock.utcnow() + DAY, {shas[2]})
        assert set(old) == {shas[0], shas[3]}, "but one of a run, one of Redis, and the newest"
        assert clean.remove_versions(connection, [*old, shas[1], shas[4]]) == 2, "a run and a DAG keep theirs"
        assert set(connection.execute(select(dag_version.c.version)).scalars()) == {shas[1], shas[2], shas[4]}


def test_events_of_no_run_and_workers_that_are_gone_go(engine: Engine) -> None:
    with transaction(engine) as connection:
        for n in range(25):
            events.add(connection, f"paused {n}", who="ada")
        connection.execute(insert(worker), [a_row(worker, name=f"w{n}", seen_at=NOON + n * DAY, ended_at=None, queues=[], labels=[]) for n in range(3)])
    a_finished_run(engine, 0)
    with transaction(engine) as connection:
        before, tables = NOON + DAY, clean.TABLES
        assert clean.count_rest(connection, tables, before, []) == {"event_log": 0, "worker": 1, "dag_version": 0, "notice_message": 0}
        assert clean.count_rest(connection, tables, clock.utcnow() + DAY, [])["event_log"] == 25
        rounds = 0
        while clean.remove_rest(connection, tables, clock.utcnow() + DAY, 10).total():
            rounds += 1
        assert rounds > 2
        assert len(connection.execute(select(event_log)).all()) == 6, "those of runs go with their runs"
        assert connection.execute(select(worker)).all() == []


def test_every_table_of_runs_is_cleaned() -> None:
    of_runs = {table.name for table in metadata.tables.values() if "run_key" in table.columns} - {"dag_run", "notice_message"}
    assert {table.name for table, _ in clean._PARTS} == of_runs
