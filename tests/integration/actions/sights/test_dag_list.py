"""The list of DAGs: right for runs that go on, that have ended, and of which nothing is recorded yet; in a few questions."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from rqflow.actions.model import plain
from rqflow.actions.sights.dag_list import DagList, dag_list
from rqflow.exceptions import UsageError
from rqflow.states import RunState, TaskState
from rqflow.store import dag_files, schedules
from rqflow.store.dag_files import DagFileRecord
from rqflow.store.engine import transaction
from tests.integration.actions.hub import Hub
from tests.integration.actions.sights.conftest import Counted
from tests.integration.broker import playing
from tests.unit.builders import a_version

ONE = pytest.mark.parametrize("database", ["sqlite"])


def of(hub: Hub, **wanted: object) -> DagList:
    return dag_list(hub.broker, hub.engine, **wanted)  # type: ignore[arg-type]


def names(found: DagList) -> list[str]:
    return [row.dag_id for row in found.dags]


def told(hub: Hub) -> dict[str, tuple[list[str], int, int, int, bool]]:
    return {row.dag_id: ([run.state.value for run in row.runs], row.running, row.queued, row.failed, row.is_failing) for row in of(hub).dags}


def test_states_are_right_while_runs_go_on_before_they_are_recorded_and_after_redis_has_forgotten_them(hub: Hub) -> None:
    good, bad, going = (a_version(["a"], dag_id=name, max_active_runs=1) for name in ("good", "bad", "going"))
    ended = [hub.start(good), hub.start(bad)]
    playing.play(hub.broker, {"a": TaskState.SUCCESS})
    ended.append(hub.start(bad, day=1))
    playing.play(hub.broker, {"a": TaskState.FAILED})
    hub.start(going)
    hub.start(going, day=1)
    expected = {"good": (["success"], 0, 0, 0, False), "bad": (["failed", "success"], 0, 0, 1, True),
                "going": (["queued", "running"], 1, 1, 0, False)}
    assert told(hub) == expected, "nothing is recorded yet"
    hub.record()
    assert told(hub) == expected
    hub.forget(*ended)
    found = of(hub)
    assert told(hub) == expected
    assert found.counts == {"all": 3, "active": 3, "paused": 0, "running": 1, "failing": 1}
    assert names(found) == ["bad", "going", "good"], "failing first, then what runs"
    assert (names(of(hub, show="failing")), names(of(hub, show="running"))) == (["bad"], ["going"])
    playing.play(hub.broker, {"a": TaskState.FAILED})
    assert names(of(hub, show="failing")) == ["bad", "going"], "it failed, and the history does not know"


@ONE
def test_a_dag_that_recovered_is_not_failing_though_that_is_not_recorded(hub: Hub) -> None:
    version = a_version(["a"], dag_id="d")
    hub.start(version)
    playing.play(hub.broker, {"a": TaskState.FAILED})
    hub.record()
    assert of(hub).counts["failing"] == 1
    hub.start(version, day=1)
    playing.play(hub.broker)
    assert (of(hub).counts["failing"], of(hub).dags[0].is_failing) == (0, False)


def test_the_newest_runs_of_each_dag_are_shown_newest_first(hub: Hub) -> None:
    versions = [a_version(["a"], dag_id=f"d{number}", max_active_runs=99) for number in range(3)]
    runs = [hub.start(version, day=day) for day in range(27) for version in versions[:2]]
    rows = {row.dag_id: row for row in of(hub).dags if row.runs}
    for dag_id in ("d0", "d1"):
        assert [run.run_key for run in rows[dag_id].runs] == [run.run_key for run in runs if run.dag_id == dag_id][:1:-1]
    assert rows["d0"].running == 27


@ONE
def test_dags_are_found_by_text_tags_owner_and_pages(hub: Hub) -> None:
    for number in range(5):
        hub.start(a_version(["a"], dag_id=f"dag_{number}", tags=("even",) if number % 2 == 0 else ("odd", "x"), owner=f"o{number % 2}",
                            description="The Fourth" if number == 4 else ""))
    assert names(of(hub, text="FOURTH")) == ["dag_4"]
    assert names(of(hub, tags=["odd", "x"], sort="name")) == ["dag_1", "dag_3"]
    assert names(of(hub, owner="o1", sort="name")) == ["dag_1", "dag_3"]
    pages = [of(hub, sort="name", limit=2, offset=offset) for offset in (0, 2, 4, 6)]
    assert [names(page) for page in pages] == [["dag_0", "dag_1"], ["dag_2", "dag_3"], ["dag_4"], []]
    assert (pages[0].total, pages[0].tags) == (5, {"even": 3, "odd": 2, "x": 2})
    assert names(of(hub, sort="last")) == [f"dag_{number}" for number in (4, 3, 2, 1, 0)]
    assert of(hub, sees=lambda record: record.owner == "o0").counts["all"] == 3


@ONE
def test_what_comes_next_is_told_and_orders_the_list(hub: Hub) -> None:
    for name, at in (("late", datetime(2030, 1, 2, tzinfo=UTC)), ("soon", datetime(2030, 1, 1, tzinfo=UTC)), ("never", None)):
        hub.start(a_version(["a"], dag_id=name, schedule="0 2 * * *" if at else None, timezone="Europe/Berlin"))
        with transaction(hub.engine) as connection:
            schedules.put(connection, name, schedules.Followed(series="s", start=at, upto=None, next_run_at=at) if at else None)
    found = of(hub, sort="next")
    assert [(row.dag_id, row.next_run_at and row.next_run_at.day, row.schedule_words) for row in found.dags] == [
        ("soon", 1, "at 02:00 (Europe/Berlin)"), ("late", 2, "at 02:00 (Europe/Berlin)"), ("never", None, "only by hand")]


@ONE
def test_files_that_cannot_be_loaded_are_told_to_those_who_see_all(hub: Hub) -> None:
    common = {"dag_ids": (), "inputs": {}, "loaded_by": "x", "loaded_at": datetime(2024, 1, 1, tzinfo=UTC)}
    with transaction(hub.engine) as connection:
        dag_files.put(connection, DagFileRecord(path="good.py", is_present=True, errors=(), **common))
        dag_files.put(connection, DagFileRecord(path="bad.py", is_present=True, errors=("bad.py:3: no",), **common))
        dag_files.put(connection, DagFileRecord(path="gone.py", is_present=False, errors=("gone.py:3: no",), **common))
    assert [(problem.path, problem.errors) for problem in of(hub).problems] == [("bad.py", ("bad.py:3: no",))]
    assert of(hub, sees=lambda _: True).problems == ()


@ONE
def test_without_redis_the_history_tells_what_it_has(hub: Hub) -> None:
    hub.start(a_version(["a"], dag_id="d"))
    row, = dag_list(None, hub.engine).dags
    assert ([run.state for run in row.runs], row.queued + row.running) == ([RunState.QUEUED], 1)


@ONE
def test_words_that_mean_nothing_are_refused(hub: Hub) -> None:
    for wanted in ({"show": "some"}, {"sort": "up"}):
        with pytest.raises(UsageError):
            of(hub, **wanted)


@ONE
def test_the_number_of_questions_does_not_grow_with_dags_and_runs(hub: Hub, counted: Counted) -> None:
    asked = []
    for number in (2, 12):
        for name in range(number):
            for day in range(2):
                hub.start(a_version(["a"], dag_id=f"d{name}", max_active_runs=99), day=day + number)
        counted.statements.clear()
        counted.round_trips = 0
        assert len(of(hub).dags) == number
        asked.append((len(counted.statements), counted.round_trips))
    assert asked[0] == asked[1] == (6, 2), counted.statements


@ONE
def test_it_is_json(hub: Hub) -> None:
    hub.start(a_version(["a"], dag_id="d", tags=("x",)))
    found = json.loads(json.dumps(plain(of(hub))))
    assert (found["dags"][0]["runs"][0]["state"], found["dags"][0]["tags"], found["counts"]["running"]) == ("running", ["x"], 1)
