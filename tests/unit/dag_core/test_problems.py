from __future__ import annotations

import pytest

from rqflow.dag import problems
from rqflow.dag.problems import Place, Problem, author_place, check_id, noting, report, warn
from rqflow.exceptions import DagLoadError

HERE = Place("d.py", 7)


def test_problem_is_raised_when_nobody_collects() -> None:
    with pytest.raises(DagLoadError) as caught:
        report("is wrong", HERE)
    assert caught.value.problems == ["d.py:7: is wrong"]


def test_problems_and_warnings_are_collected_once_each_by_the_innermost() -> None:
    with noting() as outer, noting() as inner:
        for _ in range(2):
            report("is wrong", HERE)
            warn("is odd", HERE)
    assert (inner.problems, inner.warnings) == ([Problem("d.py", 7, "is wrong")], [Problem("d.py", 7, "is odd")])
    assert (outer.problems, outer.warnings) == ([], [])


def test_problem_of_several_lines_is_shown_as_one() -> None:
    assert str(Problem("d.py", 7, "the thing\nwent\n\n wrong")) == "d.py:7: the thing | went | wrong"


def test_warning_outside_of_a_load_is_dropped() -> None:
    warn("is odd", HERE)


def test_author_place_is_the_callers_line() -> None:
    place = author_place()
    assert place.file == __file__
    assert place.line == test_author_place_is_the_callers_line.__code__.co_firstlineno + 1


def test_place_is_unknown_where_no_author_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problems.inspect, "currentframe", lambda: None)
    assert author_place() == Place("<unknown>", 0)


@pytest.mark.parametrize("name", ["a", "A-b.c_1", "x" * 200, "x" * 250, "größe"])
def test_good_ids(name: str) -> None:
    check_id("task_id", name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a b", "a blank"),
        ("a/b", "the character /"),
        ("a\n", "U\\+000A"),
        ("go \N{ROCKET}", "a blank"),
        ("\N{ROCKET}", "U\\+1F680 ROCKET"),
        ("x" * 251, "251 characters; at most 250"),
        ("", "is empty"),
        (5, "must be text, not 5"),
        (None, "must be text"),
    ],
)
def test_bad_ids_say_what_is_wrong(name: object, said: str) -> None:
    with pytest.raises(DagLoadError, match=said):
        check_id("task_id", name, HERE)
