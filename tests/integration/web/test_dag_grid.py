"""The grid of a DAG: its squares, its groups, its pages, and what it costs."""

from __future__ import annotations

import gzip
import random
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import event

from rqflow.actions import rewrite
from rqflow.actions.sights import sequence
from rqflow.actions.sights.grid import GridTask, grid
from rqflow.dag.version import Version
from rqflow.states import TaskState
from rqflow.store.runs import RunRecord
from rqflow.web.pages.dag import rows_of, squares_of
from tests.integration.broker import playing
from tests.integration.web.site import Site
from tests.unit.builders import a_task, a_version


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has shown no grid yet."""
    monkeypatch.setattr("rqflow.actions.sights.grid.SEQUENCES", sequence.Sequences())


@pytest.fixture
def statements(site: Site) -> Iterator[list[str]]:
    """All that is asked of the database of the application from now on."""
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA")):
            found.append(statement)

    engine = site.app.state.parts.lasting.engine()
    event.listen(engine, "before_cursor_execute", note)
    yield found
    event.remove(engine, "before_cursor_execute", note)


def grouped() -> Version:
    """The tasks first, g.a, g.sub.b and last, of groups g and g.sub."""
    specs = [a_task("g.a", group_id="g"), a_task("g.sub.b", group_id="g.sub")]
    groups = {"g": {"parent": None, "tooltip": ""}, "g.sub": {"parent": "g", "tooltip": ""}}
    return a_version({"first": [], "g.a": ["first"], "g.sub.b": ["g.a"], "last": ["g.sub.b"]}, specs=specs, groups=groups, dag_id="grouped")


def wide(site: Site, tasks: int, runs: int) -> list[RunRecord]:
    version = a_version([f"sample_{number}" for number in range(tasks)], dag_id="wide", max_active_tasks=None, max_active_runs=1000)
    made = []
    for day in range(runs):
        made.append(site.hub.start(version, day=day))
        playing.play(site.hub.broker)
        site.hub.record()
    return made


def names(text: str) -> list[str]:
    return re.findall(r'<th scope="row" [^>]*data-task="([^"]+)"', text)


def squares(text: str, task: str) -> list[str]:
    row = text.partition(f'data-task="{task}"')[2].partition("<tr")[0]
    return re.findall(r'class="sq st-([^"]+)"', row)


def test_a_square_leads_to_the_task_in_its_run_and_a_column_to_the_run(site: Site) -> None:
    version = a_version({"a": [], "b": ["a"]}, dag_id="line")
    first = site.hub.start(version)
    playing.play(site.hub.broker, {"a": TaskState.FAILED})
    second = site.hub.start(version, day=1)
    playing.claim(site.hub.broker)
    text = site.browser("ann").get("/dags/line").text
    assert squares(text, "a") == ["failed", "running"], "the newest run is at the right"
    assert squares(text, "b") == ["upstream_failed", "pending"]
    assert f'<a class="sq st-failed" href="/runs/{first.run_key}/tasks/a" aria-label="failed"' in text
    assert f'<a class="bar st-running" href="/runs/{second.run_key}"' in text


def test_groups_close_and_open_and_what_is_in_them_goes_with_them(site: Site) -> None:
    site.hub.start(grouped())
    browser = site.browser("ann")
    whole = ["first", "g", "g.a", "g.sub", "g.sub.b", "last"]
    for query, expected in (("", whole), ("?flip=g", ["first", "g", "last"]), ("?flip=g.sub", ["first", "g", "g.a", "g.sub", "last"]),
                            ("?but=g&flip=g", whole), ("?fold=all", ["first", "g", "last"]), ("?fold=all&but=g", ["first", "g", "g.a", "g.sub", "last"]),
                            ("?fold=all&but=g.sub", ["first", "g", "last"]), ("?but=nothing", whole)):
        assert names(browser.get(f"/dags/grouped{query}").text) == expected, query


def test_names_that_could_be_html_are_text(site: Site) -> None:
    odd = '"><script>alert(1)</script>'
    site.hub.start(a_version(specs=[a_task(odd)], dag_id="odd"))
    text = site.browser("ann").get("/dags/odd").text
    assert "<script>alert" not in text
    assert "/tasks/%22%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E" in text


def test_a_task_that_was_tried_again_says_so(site: Site) -> None:
    run = site.hub.start(a_version(["a", "b"], dag_id="again"))
    playing.play(site.hub.broker)
    rewrite.clear(site.hub.broker, site.engine, run, [1], by="ann")
    playing.claim(site.hub.broker)
    text = site.browser("ann").get("/dags/again").text
    assert text.count('data-try="2"') == 1
    assert squares(text, "b") == ["running"]


def test_older_and_newer_runs_are_a_page_away_and_filters_stay(site: Site) -> None:
    runs = wide(site, 1, 5)
    browser = site.browser("ann")
    shown = lambda text: re.findall(r'<a class="bar st-\w+" href="/runs/(\w+)"', text)  # noqa: E731 - a short name for two lines
    first = browser.get("/dags/wide?runs=2&run_type=manual").text
    assert shown(first) == [run.run_key for run in runs[3:]]
    older = re.search(r'href="([^"]+)" rel="prev"', first)
    assert older
    second = browser.get(older[1].replace("&amp;", "&")).text
    assert shown(second) == [run.run_key for run in runs[1:3]]
    assert "run_type=manual" in older[1]
    assert "No run fits" in browser.get("/dags/wide?state=failed").text


def test_what_cannot_be_shown_is_said(site: Site) -> None:
    wide(site, 1, 1)
    browser = site.browser("ann")
    assert browser.get("/dags/none").status_code == 404
    assert browser.get("/dags/wide?before=0123456789abcdef").status_code == 404
    for query in ("runs=0", "runs=x", "state=odd", "run_type=odd", "fold=odd", "before=a&after=b"):
        assert browser.get(f"/dags/wide?{query}").status_code == 422, query
    assert browser.get("/dags/wide?but=%00&flip=%ED%A0%80").status_code == 200


def test_the_questions_that_a_grid_asks_do_not_grow_with_tasks_and_runs(site: Site, statements: list[str]) -> None:
    browser = site.browser("ann")
    counts = []
    for tasks, runs in ((2, 1), (200, 4)):
        version = a_version([f"sample_{number:04d}" for number in range(tasks)], dag_id="wide")
        for day in range(runs):
            site.hub.start(version, day=tasks + day)
        statements.clear()
        text = browser.get("/dags/wide").text
        assert text.count('<a class="sq st-') >= tasks * runs
        counts.append(len(statements))
    assert max(counts) <= 7, "that of the session, and six of the grid"


def test_a_group_shows_that_a_part_of_it_failed_and_how_many(site: Site) -> None:
    names = [f"g.t{number}" for number in range(8)]
    version = a_version({**{name: [] for name in names}, "skips": []}, specs=[a_task(name, group_id="g") for name in names],
                        groups={"g": {"parent": None, "tooltip": ""}}, dag_id="parts")
    for day, ends in enumerate(({}, {"g.t3": TaskState.FAILED}, dict.fromkeys(names[:7], TaskState.FAILED), {"g.t1": TaskState.SKIPPED})):
        site.hub.start(version, day=day)
        playing.play(site.hub.broker, ends)
    text = site.browser("ann").get("/dags/parts").text
    assert squares(text, "g") == ["success", "failed of-success part-1", "failed of-success part-4", "success"], "one skipped is nothing bad"
    for told in ("8 success", "1 failed, 7 success", "7 failed, 1 success", "7 success, 1 skipped"):
        assert f'aria-label="{told}"' in text


def test_the_squares_of_1000_tasks_and_25_runs_are_small_on_the_way(site: Site) -> None:
    made = random.Random(1)
    tasks = [GridTask(task_id=f"s{number // 5}.step_{number % 5}", label="", operator="", group_id="", depth=0, is_gone=False) for number in range(1000)]
    site.hub.start(a_version(dag_id="d"))
    one = grid(site.hub.broker, site.engine, "d")
    runs = [replace(one.runs[0], run_key=f"{made.getrandbits(64):016x}", states="".join(made.choices("sfux", (90, 2, 6, 2), k=1000)))
            for _ in range(25)]
    rows = rows_of(replace(one, tasks=tuple(tasks), runs=tuple(runs)), closed=[])
    text = "".join(f"<tr>{squares_of(row, runs)}" for row in rows)
    assert text.count("<a ") == 25_000
    assert len(gzip.compress(text.encode(), 5)) < 140_000
