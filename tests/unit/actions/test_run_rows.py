"""The rows of the list of a run's tasks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from rqflow.actions.sights.run_rows import MANY, WINDOW, RowFilter, Rows, flipped_by, rows_of
from rqflow.actions.sights.run_view import RunGroup, RunPage
from rqflow.states import TaskState


def a_page(names: list[str], groups: list[tuple[str, int, int]] = [], states: dict[str, TaskState] = {}) -> RunPage:  # noqa: B006 - not changed
    tasks = tuple(SimpleNamespace(task_id=name, state=states.get(name, TaskState.SUCCESS), mark="") for name in names)
    made = tuple(RunGroup(group_id=name, label=name, parent="", depth=0, start=start, stop=stop, state=None, counts={}) for name, start, stop in groups)
    return cast(RunPage, SimpleNamespace(tasks=tasks, groups=made))


def names(found: Rows) -> list[str]:
    return [row.group.group_id + ":" if row.group else cast(Any, row.task).task_id for row in found.rows]


def test_groups_are_open_in_small_runs_and_closed_in_large_ones() -> None:
    small = a_page(["a", "g.b", "g.c", "d"], [("g", 1, 3)])
    assert names(rows_of(small, RowFilter())) == ["a", "g:", "g.b", "g.c", "d"]
    assert names(rows_of(small, RowFilter(flipped=frozenset({"g"})))) == ["a", "g:", "d"]
    large = a_page([f"g.{n}" for n in range(MANY + 1)] + ["z"], [("g", 0, MANY + 1)])
    assert names(rows_of(large, RowFilter())) == ["g:", "z"]
    assert len(names(rows_of(large, RowFilter(flipped=frozenset({"g"}))))) == MANY + 3


def test_what_is_inside_of_a_closed_group_is_hidden_groups_too() -> None:
    page = a_page(["g.a", "g.h.b", "c"], [("g", 0, 2), ("g.h", 1, 2)])
    assert names(rows_of(page, RowFilter())) == ["g:", "g.a", "g.h:", "g.h.b", "c"]
    assert names(rows_of(page, RowFilter(flipped=frozenset({"g"})))) == ["g:", "c"]
    assert names(rows_of(page, RowFilter(flipped=frozenset({"g.h"})))) == ["g:", "g.a", "g.h:", "c"]


def test_the_groups_around_the_chosen_task_are_open() -> None:
    page = a_page(["g.a", "g.h.b", "c"], [("g", 0, 2), ("g.h", 1, 2)])
    assert names(rows_of(page, RowFilter(flipped=frozenset({"g", "g.h"}), selected="g.h.b"))) == ["g:", "g.a", "g.h:", "g.h.b", "c"]


def test_a_filter_shows_what_passes_without_groups() -> None:
    page = a_page(["a", "g.Ab", "g.c"], [("g", 1, 3)], {"g.c": TaskState.FAILED})
    assert names(rows_of(page, RowFilter(text="AB"))) == ["g.Ab"]
    found = rows_of(page, RowFilter(states=frozenset({"failed"})))
    assert (names(found), found.matching) == (["g.c"], 1)


@given(st.integers(0, 2 * WINDOW + 3), st.integers(0, 2 * WINDOW + 3))
def test_the_windows_show_each_row_once(size: int, chosen: int) -> None:
    page = a_page([f"t{n}" for n in range(size)])
    shown, first = [], 0
    while True:
        part = rows_of(page, RowFilter(first=first))
        shown += names(part)
        if part.later is None:
            break
        first = part.later
    assert shown == [f"t{n}" for n in range(size)]
    if chosen < size:
        assert f"t{chosen}" in names(rows_of(page, RowFilter(selected=f"t{chosen}")))


def test_a_click_flips_a_group_and_a_second_one_flips_it_back() -> None:
    assert flipped_by(["a"], "b") == ["a", "b"]
    assert flipped_by(["a", "b"], "b") == ["a"]
