"""docs/reference/airflow-api.md says what the code does: its tables of states are those of the mapping, its paths are routes."""

from __future__ import annotations

import re
from pathlib import Path

from rqflow.web.airflow import app, states

TEXT = (Path(__file__).parents[2] / "docs/reference/airflow-api.md").read_text(encoding="utf-8")


def table(heading: str) -> dict[str, str]:
    """The first two columns of the table whose first column has this heading."""
    rows = TEXT.partition(f"| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    return {left.strip(" `"): right.strip(" `") for _, left, right, *_ in (row.split("|") for row in rows)}


def test_states_are_called_as_the_tables_say() -> None:
    assert table("task in rqflow") == {state.value: name or "null" for state, name in states.OF_TASK.items()}
    assert table("run in rqflow") == {state.value: name for state, name in states.OF_RUN.items()}


def test_each_path_of_the_table_is_a_route_and_each_route_is_in_it() -> None:
    there: dict[str, set[str]] = {}
    for route in (one for room in app.ROOMS for one in room.router.routes):
        path = re.sub(r"\{\w+(:path)?\}", "{}", route.path.removeprefix("/"))  # type: ignore[attr-defined]  # they are all routes with a path
        there.setdefault(path, set()).update(route.methods)  # type: ignore[attr-defined]  # as above
    told: dict[str, set[str]] = {}
    for paths, methods in table("path").items():
        for one in re.findall(r"[^`, ]+", paths):
            told[one] = {word.strip() for word in methods.split(",")}
    missing = {path: methods for path, methods in told.items() if not any(_fits(path, known, methods & found) for known, found in there.items())}
    assert missing == {}
    untold = [known for known, found in there.items() if not any(_fits(path, known, methods & found) for path, methods in told.items())]
    assert untold == []


def _fits(told: str, known: str, shared: set[str]) -> bool:
    """Tell whether a path of the table, which may begin with …, is this route."""
    plain = re.sub(r"\{\w+\}", "{}", told)
    return bool(shared) and (known.endswith(plain.removeprefix("…")) if plain.startswith("…") else known == plain)
