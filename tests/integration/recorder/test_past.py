"""Which run is the one before, by the history."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from rqflow.dag.run import BACKFILL, MANUAL, SCHEDULED, RunInfo
from rqflow.dag.version import Version
from rqflow.recorder.past import run_before
from rqflow.states import TaskState
from rqflow.store import dags, runs
from rqflow.store.engine import Engine, run_in_transaction
from tests.unit.builders import A_DATE, a_run, a_version

VERSION = a_version({"a": [], "b": ["a"]}, each={"depends_on_past": True})


def day(version: Version, number: int, run_type: str = SCHEDULED) -> RunInfo:
    return replace(a_run(version, run_id=f"{run_type}-{number}", logical_date=A_DATE + timedelta(days=number)), run_type=run_type)


def known(engine: Engine, *days: RunInfo) -> None:
    def write(connection: object) -> None:
        dags.save_version(connection, VERSION)
        for each in days:
            runs.create(connection, each)

    run_in_transaction(engine, write)


def test_it_is_the_one_with_the_next_earlier_logical_date(engine: Engine) -> None:
    known(engine, day(VERSION, 3), day(VERSION, 1), day(VERSION, 7))
    found = run_before(engine, day(VERSION, 5), VERSION)
    assert found
    assert found.run_id == "scheduled-3"
    assert found.waits == {0: (0,), 1: (1,)}
    assert found.states == {0: (TaskState.PENDING, "a"), 1: (TaskState.PENDING, "b")}, "it runs still, as far as the history knows"
    assert run_before(engine, day(VERSION, 1), VERSION) is None, "the first run waits for nothing"


def test_what_people_start_does_not_hold_the_schedule_but_looks_at_it(engine: Engine) -> None:
    known(engine, day(VERSION, 1), day(VERSION, 2, MANUAL), day(VERSION, 3, BACKFILL), day(VERSION, 4, MANUAL))
    assert run_before(engine, day(VERSION, 5), VERSION).run_id == "backfill-3"  # type: ignore[union-attr]
    assert run_before(engine, day(VERSION, 3), VERSION).run_id == "scheduled-1"  # type: ignore[union-attr]
    assert run_before(engine, day(VERSION, 5, MANUAL), VERSION).run_id == "manual-4"  # type: ignore[union-attr]


def test_a_run_that_ignores_its_past_and_a_dag_without_one_ask_for_nothing(engine: Engine) -> None:
    plain = a_version({"a": [], "b": ["a"]})
    known(engine, day(VERSION, 1))
    assert run_before(engine, replace(day(VERSION, 2), ignores_past=True), VERSION) is None
    assert run_before(engine, day(plain, 2), plain) is None


def test_that_a_run_ignores_its_past_is_kept(engine: Engine) -> None:
    known(engine, replace(day(VERSION, 1), ignores_past=True), day(VERSION, 2))

    def read(connection: object) -> list[bool]:
        return [runs.by_key(connection, day(VERSION, number).key).info.ignores_past for number in (1, 2)]  # type: ignore[union-attr]

    assert run_in_transaction(engine, read) == [True, False]
