"""A run that comes back from the history: what follows from it is delivered once, and counted once."""

from __future__ import annotations

import pytest

from rqflow.broker.broker import Broker
from rqflow.broker.restoring import Remembered, restore
from rqflow.dag.run import RunInfo
from rqflow.states import TaskState
from tests.integration.broker.playing import states
from tests.lua_budget import set_budget
from tests.unit.builders import a_run, a_version

#: `last` needs only one success, so that one that counts twice would matter.
GRAPH = {"a": [], "b": ["a"], "c": ["a", "b"], "last": ["b", "c"]}


def come_back(broker: Broker, a: TaskState, *, cancelled_by: str = "", **more: object) -> RunInfo:
    """Put a run into an empty Redis, of which the history knows only that `a` is in this state."""
    version = a_version(GRAPH)
    run = a_run(version)
    told = Remembered(index=0, state=a, try_number=1, max_tries=1, seq=1, worker="w1", execution_id="e1", started_at=1, **more)  # type: ignore[arg-type]
    restore(broker, run, version, [told], cancelled_by=cancelled_by)
    return run


@pytest.mark.parametrize("budget", [400, 1])
def test_a_cancel_that_comes_back_from_the_history_is_counted_once(budget: int, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    set_budget(monkeypatch, budget)
    run = come_back(broker, TaskState.RUNNING, cancelled_by="me")
    assert broker.recount(run.key) == []
    assert states(broker, run.key) == {"a": "running", "b": "cancelled", "c": "cancelled", "last": "cancelled"}


@pytest.mark.parametrize("budget", [400, 1])
def test_what_a_branch_skipped_is_counted_once_when_it_comes_back(budget: int, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    set_budget(monkeypatch, budget)
    run = come_back(broker, TaskState.SUCCESS, ended_at=2, skips=(1,))
    assert broker.recount(run.key) == []
    assert states(broker, run.key) == {"a": "success", "b": "skipped", "c": "skipped", "last": "skipped"}
