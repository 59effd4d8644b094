"""Tombstones of DAGs and runs, on each database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select

from rqflow.dag.run import MANUAL, SCHEDULED, RunInfo
from rqflow.exceptions import Conflict, DagNotFound, RunNotFound
from rqflow.store import dags, deletions, events, runs, shares
from rqflow.store.deletions import DAG, RUN, Stage
from rqflow.store.engine import Engine, reading, transaction
from rqflow.store.tables import dag, dag_run, dag_version, event_log, metadata
from tests.integration.store.test_clean import a_row
from tests.unit.builders import a_version

NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)


def a_run(run_id: str, dag_id: str = "d", kind: str = MANUAL) -> RunInfo:
    return RunInfo(dag_id=dag_id, run_id=run_id, run_type=kind, version="v", logical_date=NOON, data_interval_start=NOON, data_interval_end=NOON,
                   created_at=NOON)


@pytest.fixture
def saved(engine: Engine) -> Engine:
    """The DAGs d and e, each with a run r."""
    with transaction(engine) as connection:
        for dag_id in ("d", "e"):
            dags.save_version(connection, a_version(dag_id=dag_id))
            assert runs.create(connection, a_run("r", dag_id))
            events.add(connection, "run_started", who="ann", dag_id=dag_id, run_key=a_run("r", dag_id).key)
    return engine


def bury(engine: Engine, dag_id: str = "d") -> None:
    with transaction(engine) as connection:
        deletions.bury_dag(connection, dag_id, who="ann", keeps_logs=False, now=NOON)


def remove_all(engine: Engine, now: datetime = NOON) -> None:
    with transaction(engine) as connection:
        for one in deletions.to_do(connection, now - timedelta(minutes=1)):
            while not deletions.remove_rows(connection, one, limit=1 if one.kind == RUN else 10):
                pass
            deletions.advance(connection, one.kind, one.name, Stage.SETTLING if one.state is Stage.GOING else Stage.GONE, now)


def test_a_buried_dag_and_its_runs_are_found_by_nobody(saved: Engine) -> None:
    bury(saved)
    with reading(saved) as connection:
        assert deletions.is_deleted(connection, "d")
        assert not deletions.is_deleted(connection, "e")
        assert set(deletions.tombstones(connection)) == {"d"}
        assert [record.dag_id for record in dags.search(connection)] == ["e"]
        assert [record.dag_id for record in runs.search(connection)] == ["e"]
        assert dags.latest_version(connection, "d") is None
        with pytest.raises(DagNotFound):
            dags.find(connection, "d")
        with pytest.raises(RunNotFound):
            runs.find(connection, "r", dag_id="d")
        assert deletions.among(connection, [a_run("r").key, "x"], ["d", "e"]) == ({a_run("r").key}, {"d"})


def test_with_whom_a_deleted_dag_was_shared_gets_nothing_of_the_next_one_of_that_name(saved: Engine) -> None:
    with transaction(saved) as connection:
        for dag_id in ("d", "e"):
            shares.share(connection, dag_id, "bob", who="ann", now=NOON)
    bury(saved)
    remove_all(saved)
    with transaction(saved) as connection:
        deletions.lift(connection, "d")
        dags.save_version(connection, a_version(dag_id="d"), submitted_by="eve")
        assert shares.shared_with(connection, "bob") == {"e"}


def test_nothing_of_a_buried_dag_starts_and_only_a_person_brings_it_back(saved: Engine) -> None:
    bury(saved)
    with pytest.raises(Conflict, match="d was deleted\n`rqflow submit"), transaction(saved) as connection:
        dags.save_version(connection, a_version(dag_id="d"))
    with pytest.raises(Conflict, match="d was deleted"), transaction(saved) as connection:
        runs.create(connection, a_run("r2"))
    with pytest.raises(Conflict, match="is being deleted"), transaction(saved) as connection:
        deletions.lift(connection, "d")
    remove_all(saved)
    with transaction(saved) as connection:
        assert deletions.lift(connection, "d")
        assert dags.save_version(connection, a_version(dag_id="d")).number == 1
        assert runs.create(connection, a_run("r")), "a run of the same name may be started again"
        assert not deletions.lift(connection, "d")


def test_removal_takes_all_rows_of_the_dag_and_none_of_another(saved: Engine) -> None:
    bury(saved)
    remove_all(saved)
    with reading(saved) as connection:
        for table in (dag, dag_version, dag_run):
            assert list(connection.execute(select(table.c.dag_id)).scalars()) == ["e"]
        assert list(connection.execute(select(event_log.c.dag_id)).scalars()) == ["e"]
        assert {one.name: one.state for one in deletions.to_do(connection, NOON + timedelta(minutes=1))} == {
            a_run("r").key: Stage.SETTLING, "d": Stage.SETTLING}
    remove_all(saved, NOON + timedelta(minutes=2))
    with transaction(saved) as connection:
        assert deletions.to_do(connection, NOON + timedelta(days=1)) == []
        assert (deletions.stage(connection, DAG, "d"), deletions.stage(connection, RUN, a_run("r").key)) == (Stage.GONE, Stage.GONE)
        assert deletions.forget(connection, NOON + timedelta(days=1)) == 1, "tombstones of runs go in the end, that of the DAG stays"
        assert deletions.is_deleted(connection, "d")


def test_a_removed_dag_leaves_no_row_in_any_table(engine: Engine) -> None:
    """Also in those that features bring which know nothing of deleting."""
    with transaction(engine) as connection:
        dags.save_version(connection, a_version(dag_id="d"))
        assert runs.create(connection, a_run("r"))
        for table in metadata.sorted_tables:
            if "dag_id" in table.c and table.name not in {"dag", "dag_version", "dag_run", "deletion"}:
                wanted = {"dag_id": "d", **({"run_key": a_run("r").key} if "run_key" in table.c else {})}
                connection.execute(insert(table).values(a_row(table, **wanted)))
    bury(engine)
    remove_all(engine)
    with reading(engine) as connection:
        left = {table.name: connection.execute(select(func.count()).select_from(table).where(table.c.dag_id == "d")).scalar_one()
                for table in metadata.sorted_tables if "dag_id" in table.c}
    assert {name: count for name, count in left.items() if count} == {"deletion": 2}


def test_a_buried_run_is_not_started_again_before_it_is_gone(saved: Engine) -> None:
    with transaction(saved) as connection:
        deletions.bury_run(connection, a_run("r").key, who="ann", keeps_logs=True, now=NOON)
        deletions.bury_run(connection, a_run("r").key, who="ann", keeps_logs=False, now=NOON)
        assert deletions.count_going(connection, "d") == 1
        assert not runs.create(connection, a_run("r", kind=SCHEDULED)), "a schedule takes it for done"
    with pytest.raises(Conflict, match="run r of d is being deleted"), transaction(saved) as connection:
        runs.create(connection, a_run("r"))
    remove_all(saved)
    with transaction(saved) as connection:
        assert connection.execute(select(func.count()).select_from(dag_run)).scalar() == 1
        assert runs.create(connection, a_run("r"))
