from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest

from rqflow.actions import gantt, report
from rqflow.actions.model import Run, TaskInstance, Try
from rqflow.states import RunState, TaskState
from tests.unit.builders import a_version

START = datetime(2026, 1, 1, tzinfo=UTC)
EVIL = '<script>alert("x")</script>\x1b[31m&\x00'
VERSION = a_version({"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": []})


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def a_try(number: int, state: TaskState, began: float | None, ended: float | None, **more: Any) -> Try:
    return Try(try_number=number, state=state, started_at=at(began) if began is not None else None, ended_at=at(ended) if ended is not None else None,
               duration=ended - began if began is not None and ended is not None else None, **more)


def a_task(task_id: str, *tries: Try, state: TaskState = TaskState.SUCCESS, **more: Any) -> TaskInstance:
    started, ended = (tries[-1].started_at, tries[-1].ended_at) if tries else (None, None)
    return TaskInstance(task_id=task_id, state=state, tries=tries, try_number=len(tries), started_at=started, ended_at=ended, **more)


def a_run(*tasks: TaskInstance, state: RunState = RunState.FAILED, **more: Any) -> Run:
    return Run(dag_id="d", run_id="r", run_key="k", state=state, conf={}, params={}, logical_date=START, started_at=at(0), ended_at=at(20),
               duration=20.0, tasks=tasks, **more)


RUN = a_run(
    a_task("a", a_try(1, TaskState.UP_FOR_RETRY, 0, 1, exit_code=1, host="h1", cpu_seconds=0.5, max_rss_bytes=9_000_000),
           a_try(2, TaskState.SUCCESS, 2, 4, exit_code=0, host="h2", cpu_seconds=1.0, max_rss_bytes=15_000_000)),
    a_task("b", a_try(1, TaskState.SUCCESS, 4, 6, exit_code=0)), a_task("c", a_try(1, TaskState.SUCCESS, 4, 9, exit_code=0)),
    a_task("d", a_try(1, TaskState.FAILED, 9, 20, signal=9, reason="killed"), state=TaskState.FAILED, reason="killed"),
    a_task("e", state=TaskState.PENDING))


def test_a_run_in_numbers() -> None:
    found = report.summary(RUN, VERSION, at(99))
    assert found.states == {"success": 3, "failed": 1, "pending": 1}
    assert (found.tasks, found.tries, found.failed_tries, found.task_seconds, found.cpu_seconds) == (5, 5, 2, 21.0, 1.5)
    assert (found.max_rss_bytes, found.hosts) == (15_000_000, ("h1", "h2"))
    assert found.longest[0] == {"task_id": "d", "try_number": 1, "duration": 11.0}
    assert found.critical_path == ("a", "c", "d")


def test_a_run_without_any_try_in_numbers() -> None:
    found = report.summary(a_run(a_task("a", state=TaskState.PENDING)), VERSION, at(99))
    assert (found.tries, found.critical_path, found.longest, found.max_rss_bytes) == (0, (), (), None)


def test_what_runs_has_taken_as_long_as_until_now() -> None:
    run = a_run(a_task("a", a_try(1, TaskState.RUNNING, 1, None), state=TaskState.RUNNING), state=RunState.RUNNING)
    assert report.summary(replace(run, ended_at=None), VERSION, at(8)).duration == 8
    assert report.summary(run, VERSION, at(8)).longest[0]["duration"] == 7


def test_the_trace_has_a_line_for_each_try() -> None:
    rows = list(csv.DictReader(io.StringIO(report.trace(RUN))))
    assert tuple(rows[0]) == report.TRACE
    assert [(row["task_id"], row["try_number"], row["state"], row["exit_code"], row["signal"]) for row in rows] == [
        ("a", "1", "up_for_retry", "1", ""), ("a", "2", "success", "0", ""), ("b", "1", "success", "0", ""), ("c", "1", "success", "0", ""),
        ("d", "1", "failed", "", "9")]
    assert rows[0]["started_at"] == "2026-01-01T00:00:00.000000+00:00"


def test_bars_stand_where_the_tries_ran() -> None:
    found = gantt.gantt(RUN, at(100))
    assert [row.task_id for row in found.rows] == ["a", "b", "c", "d"]
    assert [(round(bar.x / gantt.WIDTH, 3), round(bar.width / gantt.WIDTH, 3)) for bar in found.rows[0].bars] == [(0.0, 0.05), (0.1, 0.1)]
    assert found.rows[3].bars[0].colour == gantt.FAILED
    assert [line.label for line in found.lines] == ["0", "2s", "4s", "6s", "8s", "10s", "12s", "14s", "16s", "18s", "20s"]


@pytest.mark.parametrize("seconds", [0.0, 0.3, 11, 3600, 7 * 86400, 400 * 86400])
def test_the_axis_has_few_lines_however_long_a_run_takes(seconds: float) -> None:
    found = gantt.gantt(a_run(a_task("a", a_try(1, TaskState.SUCCESS, 0, seconds))), at(seconds))
    assert 4 <= len(found.lines) <= gantt.LINES + 1
    assert len({line.label for line in found.lines}) == len(found.lines)
    assert found.rows[0].bars[0].width >= gantt.LEAST


def test_what_runs_reaches_up_to_now() -> None:
    found = gantt.gantt(a_run(a_task("a", a_try(1, TaskState.RUNNING, 0, None)), a_task("b", a_try(1, TaskState.SUCCESS, 0, 5))), at(10))
    assert found.rows[0].bars[0].width == gantt.WIDTH
    assert found.rows[1].bars[0].width == gantt.WIDTH / 2


class Elements(HTMLParser):
    """The elements of a page, with what they load."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_the_page_is_one_file_without_scripts_and_escapes_all_that_others_wrote() -> None:
    run = a_run(a_task(EVIL, a_try(1, TaskState.FAILED, 0, 1, reason=EVIL, host=EVIL), state=TaskState.FAILED, reason=EVIL, operator=EVIL), note=EVIL)
    run = Run(**{**{name: getattr(run, name) for name in Run.__slots__}, "params": {EVIL: EVIL}, "conf": {"x": EVIL}, "dag_id": EVIL, "run_id": EVIL})
    text = report.page(run, a_version({EVIL: []}), at(5), lambda _, size: (EVIL * 2).encode()[-size:])
    elements = Elements()
    elements.feed(text)
    assert elements.tags.isdisjoint({"script", "link", "img", "iframe", "object", "a"})
    assert not [name for name in elements.attributes if name.startswith("on") or name in {"href", "src"}]
    assert "default-src 'none'" in text
    assert "\x1b" not in text
    assert "\x00" not in text
    assert text.count("&lt;script&gt;") > 8


def test_the_picture_is_sound_xml_whatever_tasks_are_called() -> None:
    text = report.picture(a_run(a_task(EVIL, a_try(1, TaskState.FAILED, 0, 1, host=EVIL), state=TaskState.FAILED)), at(5))
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))
    assert EVIL[:10] in "".join(root.itertext())
