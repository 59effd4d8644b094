"""The map of faults: each behaviour that it and the project promise by number has a test that names the number."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAP = ROOT / "docs/explanation/faults.md"
#: What must be shown by tests with real processes.
NUMBERS = [*range(1, 20), 22, 23, 28, 29, 30, 46, 48, 49, *range(51, 63), *range(69, 74), *range(75, 84)]
#: Those of them that are shown from the page, too: by what asks a web server for it.
ON_THE_PAGE = [9, 46, 48, *range(51, 56), 76, 77, 78]


@cache
def named() -> dict[int, set[str]]:
    """Return {number: tests that name it}, by `test_r05_…`, or a docstring with `Reliability 5, 6`; a test is "its path::its name"."""
    found: dict[int, set[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for number in _numbers(node):
                    found.setdefault(number, set()).add(f"{path.relative_to(ROOT)}::{node.name}")
    return found


def _numbers(function: ast.FunctionDef) -> Iterator[int]:
    yield from map(int, re.findall(r"_r(\d\d)(?=_)", function.name))
    for words in re.findall(r"[Rr]eliability ((?:\d+(?:, | and )?)+)", ast.get_docstring(function) or ""):
        yield from map(int, re.findall(r"\d+", words))


def mapped() -> set[int]:
    """Return the numbers in the last column of the map's tables."""
    rows = [line.rstrip("|").split("|")[-1] for line in MAP.read_text(encoding="utf-8").splitlines() if re.match(r"\|.*\d", line)]
    return {int(number) for row in rows for number in re.findall(r"\d+", row)}


@pytest.mark.parametrize("number", NUMBERS)
def test_each_behaviour_has_a_test_that_names_it(number: int) -> None:
    assert named().get(number), f"no test names reliability {number}"


@pytest.mark.parametrize("number", ON_THE_PAGE)
def test_some_behaviours_are_shown_from_the_page(number: int) -> None:
    asking = [one for one in named()[number] if "/web/" in one or "tests.e2e.pages import" in (ROOT / one.partition("::")[0]).read_text(encoding="utf-8")]
    assert asking, f"no test shows reliability {number} from the page"


def test_each_behaviour_is_on_the_map_and_each_one_there_has_a_test() -> None:
    assert set(NUMBERS) - mapped() == set()
    assert mapped() - set(named()) == set()
