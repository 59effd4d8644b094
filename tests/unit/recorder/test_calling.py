"""Which events an author's functions are called for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from rqflow.recorder import calling
from rqflow.recorder.reading import read
from rqflow.store.sla import Miss
from tests.integration.recorder.events import a_run_event, an_end

ALL = frozenset({"failure", "retry", "skipped", "success", "run_failure", "run_success"})


def noted(*events: dict[str, Any], kinds: frozenset[str] = ALL) -> list[tuple[str, str, int]]:
    batch = read(list(events))
    assert not batch.unreadable
    rows = calling.rows(batch.ends, batch.run_states, dict.fromkeys(batch.runs, kinds))
    return [(row["kind"], row["task_id"], row["try_number"]) for row in rows]


@pytest.mark.parametrize(("state", "kind"), [
    ("failed", "failure"), ("lost", "failure"), ("up_for_retry", "retry"), ("success", "success"), ("skipped", "skipped"),
])
def test_the_end_of_a_try_is_called_what_it_is(state: str, kind: str) -> None:
    assert noted(an_end(state, 2)) == [(kind, "t", 1)]


def test_kinds_that_the_version_has_nowhere_are_not_noted() -> None:
    assert noted(an_end("failed", 2), kinds=frozenset({"success"})) == []
    assert noted(an_end("failed", 2), kinds=frozenset()) == []


def test_a_task_of_another_version_may_have_what_its_run_has_not() -> None:
    assert noted(an_end("failed", 2, version="f" * 64), kinds=frozenset()) == [("failure", "t", 1)]


@pytest.mark.parametrize("state", ["failed", "success", "skipped"])
def test_what_a_person_marked_is_not_noted(state: str) -> None:
    assert noted(an_end(state, 2, reason="marked failed by ada")) == []


def test_what_nobody_ran_has_not_failed_and_was_not_skipped_by_itself() -> None:
    for state in ("failed", "skipped"):
        event = an_end(state, 2)
        del event["facts"]
        assert noted(event) == []


def test_one_try_is_one_call_and_what_passes_by_itself_one_each_time() -> None:
    def keys(*events: dict[str, Any]) -> set[str]:
        return {row["callback_id"] for event in events for row in calling.rows(read([event]).ends, [], dict.fromkeys(read([event]).runs, ALL))}

    assert len(keys(an_end("lost", 2), an_end("up_for_retry", 3))) == 1
    passed = [an_end("success", 2), an_end("success", 5)]
    for event in passed:
        del event["facts"]
    assert len(keys(*passed)) == 2


def test_the_end_of_a_run_is_called_failure_or_success_and_not_when_it_was_cancelled() -> None:
    assert noted(a_run_event("failed", 2)) == [("run_failure", "", 0)]
    assert noted(a_run_event("success", 2)) == [("run_success", "", 0)]
    assert noted(a_run_event("cancelled", 2)) == []
    assert noted(a_run_event("running", 2)) == []


def test_the_end_that_a_person_gave_a_run_is_not_noted() -> None:
    marked = an_end("success", 5, reason="marked success by ada")
    assert noted(marked, a_run_event("success", 5)) == []
    assert noted(marked, a_run_event("success", 7)) == [("run_success", "", 0)]


def test_missed_slas_of_one_look_are_one_call() -> None:
    at = datetime(2026, 9, 21, 14, tzinfo=UTC)
    misses = [Miss(dag_id="d", run_key="k" * 16, run_id="r", logical_date=at, task_id=name, due_at=at, seen_at=at, is_notified=False)
              for name in ("b", "a")]
    row = calling.of_misses("k" * 16, misses)
    assert (row["kind"], row["task_id"], row["detail"]) == ("sla_miss", "", f'{{"a": "{at.isoformat()}", "b": "{at.isoformat()}"}}')
    assert calling.of_misses("k" * 16, reversed(misses))["callback_id"] == row["callback_id"]
