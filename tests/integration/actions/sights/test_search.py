"""Finding pages, DAGs, tasks and runs by a piece of their names."""

from __future__ import annotations

import json

import pytest

from rqflow.actions.model import plain
from rqflow.actions.sights import search as module
from rqflow.actions.sights.search import MOST, Hits, search
from rqflow.states import RunState
from tests.integration.actions.hub import Hub
from tests.integration.actions.sights.conftest import Counted
from tests.integration.broker import playing
from tests.unit.builders import a_version

ONE = pytest.mark.parametrize("database", ["sqlite"])


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has found nothing yet."""
    monkeypatch.setattr(module, "TASK_NAMES", module.TaskNames())


def of(hub: Hub, text: str, **more: object) -> Hits:
    return search(hub.broker, hub.engine, text, **more)  # type: ignore[arg-type]


def test_dags_tasks_and_runs_are_found(hub: Hub) -> None:
    rna = hub.start(a_version(["Align_reads", "count"], dag_id="rna_seq", description="Nightly"), run_id="try_50%")
    hub.start(a_version(["align", "call"], dag_id="variants"), run_id="mine_try_5")
    assert [hit.dag_id for hit in of(hub, "SEQ nightly").dags] == ["rna_seq"]
    assert [(hit.dag_id, hit.task_id) for hit in of(hub, "align").tasks] == [("variants", "align"), ("rna_seq", "Align_reads")]
    assert [hit.task_id for hit in of(hub, "rna align").tasks] == ["Align_reads"]
    assert [hit.task_id for hit in of(hub, "variants.call").tasks] == ["call"]
    assert [hit.run_id for hit in of(hub, "try_5").runs] == ["try_50%", "mine_try_5"], "those that begin so come first"
    assert [hit.run_id for hit in of(hub, "50%").runs] == ["try_50%"]
    assert [hit.run_key for hit in of(hub, rna.run_key).runs] == [rna.run_key]
    playing.play(hub.broker)
    assert of(hub, "try_50").runs[0].state is RunState.SUCCESS, "though it is not recorded"


@ONE
def test_pages_are_found_by_other_words_too(hub: Hub) -> None:
    assert [hit.path for hit in of(hub, "machines").pages] == ["/workers"]
    assert of(hub, "  ") == Hits(text="", pages=(), dags=(), tasks=(), runs=())


@ONE
def test_what_is_meant_comes_first_and_lists_end(hub: Hub) -> None:
    for number in range(MOST + 3):
        hub.start(a_version(["t"], dag_id=f"x_{number:02d}"))
    hub.start(a_version(["t"], dag_id="x"))
    found = of(hub, "x")
    assert (found.dags[0].dag_id, len(found.dags), len(of(hub, "t").tasks)) == ("x", MOST, MOST)


@ONE
def test_who_may_not_see_a_dag_finds_nothing_of_it(hub: Hub) -> None:
    for name in ("mine", "theirs"):
        hub.start(a_version(["secret"], dag_id=name), run_id="secret_run")
    found = of(hub, "secret", sees=lambda dag_id: dag_id == "mine")
    assert {hit.dag_id for hit in (*found.tasks, *found.runs)} == {"mine"}


@ONE
def test_what_was_not_looked_at_yet_is_said_and_looked_at_the_next_time(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_AT_ONCE", 2)
    for number in range(3):
        hub.start(a_version(["a_task"], dag_id=f"d{number}"))
    found = [of(hub, "a_task") for _ in range(2)]
    assert [(one.is_complete, len(one.tasks)) for one in found] == [(False, 2), (True, 3)]


@ONE
def test_the_number_of_questions_does_not_grow(hub: Hub, counted: Counted) -> None:
    asked = []
    for number in (1, 9):
        for place in range(number):
            hub.start(a_version(["a"], dag_id=f"d{place}"), run_id=f"run_{place}_{number}")
        of(hub, "run")
        counted.statements.clear()
        of(hub, "run")
        asked.append(len(counted.statements))
    assert asked[0] <= 4
    assert asked[1] <= 4


@ONE
def test_it_is_json(hub: Hub) -> None:
    hub.start(a_version(["a"], dag_id="d"), run_id="run_1")
    assert json.loads(json.dumps(plain(of(hub, "run_1"))))["runs"][0]["state"] == "running"
