from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rqflow import clock
from rqflow.dag.run import MANUAL, SCHEDULED, RunInfo
from rqflow.exceptions import RunNotFound, UsageError
from rqflow.states import RunState
from rqflow.store import runs
from rqflow.store.engine import Engine, reading, run_in_transaction, transaction
from rqflow.store.runs import RunFilter

NOON = datetime(2026, 3, 29, 12, 0, 0, 123456, tzinfo=UTC)
DAY = timedelta(days=1)


def a_run(run_id: str = "r", *, day: int = 0, **changes: Any) -> RunInfo:
    """A manual run of DAG d, `day` days after NOON, made then."""
    at = NOON + day * DAY
    defaults = {"dag_id": "d", "run_type": MANUAL, "version": "v", "created_at": at}
    dates = {"logical_date": at, "data_interval_start": at, "data_interval_end": at + DAY}
    return RunInfo(run_id=run_id, **{**defaults, **dates, **changes})


def make(engine: Engine, *made: RunInfo, state: RunState = RunState.QUEUED) -> list[bool]:
    return run_in_transaction(engine, lambda connection: [runs.create(connection, run, state=state) for run in made])


def ids(records: list[runs.RunRecord]) -> list[str]:
    return [record.run_id for record in records]


def test_run_comes_back_as_it_was_given(engine: Engine) -> None:
    run = a_run(conf={"x": ["é𝄞", "\x00", None]}, params={"n": 1.5}, priority=3, note="why")
    assert make(engine, run) == [True]
    with reading(engine) as connection:
        record = runs.get(connection, "d", "r")
        assert record is not None
        assert record == runs.by_key(connection, run.key)
    assert record.info == run
    assert (record.state, record.started_at, record.ended_at) == (RunState.QUEUED, None, None)


def test_run_of_the_same_id_is_not_made_again(engine: Engine) -> None:
    assert make(engine, a_run(), a_run(conf={"other": 1}), a_run(dag_id="D")) == [True, False, True]
    with reading(engine) as connection:
        assert runs.find(connection, "r", dag_id="d").conf == {}


def test_scheduled_run_is_unique_by_its_date_and_others_are_not(engine: Engine) -> None:
    scheduled = [a_run(name, run_type=SCHEDULED) for name in ("s", "s2")]
    assert make(engine, a_run("m1"), a_run("m2"), *scheduled, a_run("s3", run_type=SCHEDULED, day=1)) == [True, True, True, False, True]


def test_of_many_that_make_the_same_run_one_succeeds(engine: Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: make(engine, a_run(run_type=SCHEDULED)), range(8)))
    assert sum(answer == [True] for answer in made) == 1


def test_time_without_zone_is_refused(engine: Engine) -> None:
    with pytest.raises(Exception, match="no time zone"):
        make(engine, a_run(logical_date=NOON.replace(tzinfo=None)))


def test_times_of_other_zones_mean_the_same_moment(engine: Engine) -> None:
    from zoneinfo import ZoneInfo

    local = NOON.astimezone(ZoneInfo("Asia/Tokyo"))
    make(engine, a_run(logical_date=local))
    with reading(engine) as connection:
        record = runs.at(connection, "d", local)
        assert record is not None
    assert record.logical_date == NOON
    assert str(record.logical_date) == "2026-03-29 12:00:00.123456+00:00"


def test_find_by_id_key_and_unique_prefix(engine: Engine) -> None:
    run = a_run("manual__2026-03-29")
    make(engine, run, a_run("manual__2026-04", day=1), a_run("Manual", day=2))
    with reading(engine) as connection:
        assert runs.find(connection, "manual__2026-03-29").run_id == run.run_id
        assert runs.find(connection, run.key).run_id == run.run_id
        assert runs.find(connection, "manual__2026-03").run_id == run.run_id
        assert runs.find(connection, "Man").run_id == "Manual"
        for nothing in ("", "%", "manual__2026-03-29x", "MANUAL"):
            with pytest.raises(RunNotFound):
                runs.find(connection, nothing)


def test_prefix_or_id_of_several_runs_is_refused_with_their_names(engine: Engine) -> None:
    make(engine, a_run("m1"), a_run("m2"), a_run("m1", dag_id="e"))
    with reading(engine) as connection:
        with pytest.raises(UsageError, match="m1 of DAG"):
            runs.find(connection, "m")
        with pytest.raises(UsageError, match="m1 of DAG"):
            runs.find(connection, "m1")
        assert runs.find(connection, "m1", dag_id="e").dag_id == "e"


def test_latest_last_failed_at_and_previous(engine: Engine) -> None:
    make(engine, a_run("r0", day=0), a_run("r1", day=1), state=RunState.FAILED)
    make(engine, a_run("r2", day=2), a_run("x", day=9, dag_id="e"))
    with reading(engine) as connection:
        assert runs.latest(connection, "d").run_id == "r2"
        assert runs.last_failed(connection, "d").run_id == "r1"
        assert runs.last_failed(connection, "e") is None
        assert runs.at(connection, "d", NOON + DAY).run_id == "r1"
        assert runs.at(connection, "d", NOON + DAY / 2) is None
        assert runs.previous(connection, "d", NOON + 2 * DAY).run_id == "r1"
        assert runs.previous(connection, "d", NOON) is None
        assert runs.previous(connection, "d", NOON + 9 * DAY, states={RunState.FAILED}).run_id == "r1"


def test_search_filters_newest_first(engine: Engine) -> None:
    make(engine, *(a_run(f"r{day}", day=day) for day in range(5)))
    make(engine, a_run("b", day=7, dag_id="e"), state=RunState.RUNNING)
    with reading(engine) as connection:
        def found(**wanted: Any) -> list[str]:
            return ids(runs.search(connection, RunFilter(**wanted)))

        assert ids(runs.search(connection)) == ["b", "r4", "r3", "r2", "r1", "r0"]
        assert ids(runs.search(connection, limit=2)) == ["b", "r4"]
        assert found(dag_id="e") == found(states=[RunState.RUNNING]) == ["b"]
        assert found(states=[]) == []
        assert found(since=NOON + DAY, until=NOON + 3 * DAY) == ["r2", "r1"]


def an_event(run: RunInfo, state: RunState, seq: int, **changes: Any) -> dict[str, Any]:
    plain = {"run_key": run.key, "dag_id": run.dag_id, "run_id": run.run_id, "state": state.value, "seq": seq}
    return {**plain, "started_at": NOON, "ended_at": None, **changes}


def test_older_event_does_not_change_a_run(engine: Engine) -> None:
    run = a_run()
    make(engine, run)
    end = an_event(run, RunState.SUCCESS, 5, ended_at=NOON + DAY)
    with transaction(engine) as connection:
        for event in (an_event(run, RunState.RUNNING, 4), end, an_event(run, RunState.RUNNING, 4)):
            runs.record_states(connection, [event])
        record = runs.find(connection, "r")
        assert (record.state, record.seq, record.ended_at, record.info) == (RunState.SUCCESS, 5, NOON + DAY, run)
        runs.record_states(connection, [an_event(run, RunState.RUNNING, 6)])
        assert runs.find(connection, "r").ended_at is None


def test_run_that_only_events_told_of_is_filled_in_later(engine: Engine) -> None:
    run = a_run(conf={"x": 1}, run_type=SCHEDULED)
    with transaction(engine) as connection:
        runs.record_unknown(connection, {run.key: (run.dag_id, run.run_id)})
        runs.record_states(connection, [an_event(run, RunState.SUCCESS, 5, ended_at=NOON)])
        runs.record_unknown(connection, {run.key: (run.dag_id, run.run_id)})
        record = runs.find(connection, "r")
        assert (record.info, record.created_at, record.state) == (None, None, RunState.SUCCESS)
    assert make(engine, run) == [False]
    with reading(engine) as connection:
        record = runs.find(connection, "r")
    assert record.info == run
    assert (record.state, record.seq) == (RunState.SUCCESS, 5)


def test_created_at_is_now_when_the_run_does_not_say(engine: Engine) -> None:
    before = clock.utcnow()
    make(engine, a_run(created_at=None))
    with reading(engine) as connection:
        created_at = runs.find(connection, "r").created_at
    assert created_at is not None
    assert before <= created_at <= clock.utcnow()
