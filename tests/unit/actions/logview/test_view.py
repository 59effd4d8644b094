from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rqflow import clock
from rqflow import settings as configuration
from rqflow.actions.logview import view
from rqflow.actions.logview.index import LineIndexes
from rqflow.actions.logview.view import Place, Wanted
from rqflow.actions.model import Run, TaskInstance, Try
from rqflow.exceptions import NotFound, TaskNotFound
from rqflow.recorder import logtimes
from rqflow.states import RunState, TaskState

AT = datetime(2026, 1, 1, tzinfo=UTC)


def a_place(folder: Path, text: bytes | None = None) -> Place:
    one = Try(try_number=1, state=TaskState.FAILED, worker="w", started_at=AT, ended_at=AT + timedelta(seconds=5))
    task = TaskInstance(task_id="t", state=TaskState.RUNNING, try_number=2, tries=(one,))
    run = Run(dag_id="d", run_id="r", run_key="k", state=RunState.RUNNING, logical_date=AT, conf={}, params={}, tasks=(task,))
    place = view.place(configuration.load(home=folder, environ={"RQFLOW__LOGS__FOLDER": str(folder)}), run, "t", 1)
    if text is not None:
        place.path.parent.mkdir(parents=True)
        place.path.write_bytes(text)
    return place


def test_a_log_that_has_not_begun_is_an_empty_block(tmp_path: Path) -> None:
    found = view.block(a_place(tmp_path), LineIndexes(), Wanted())
    assert (found.lines, found.size, found.is_at_end) == ((), 0, True)


@pytest.mark.parametrize(("wanted", "numbers"), [
    (Wanted(), (2001, 3000)), (Wanted(line=1), (1, 1000)), (Wanted(line=1500), (1300, 2299)), (Wanted(line=99_999), (2800, 3000)),
    (Wanted(after=5 * 1999), (2000, 2999)), (Wanted(before=5 * 1999), (1000, 1999)), (Wanted(around=5 * 2499 + 3), (2300, 3000)),
])
def test_lines_are_asked_for_by_number_or_by_byte(wanted: Wanted, numbers: tuple[int, int], tmp_path: Path) -> None:
    place = a_place(tmp_path, b"".join(b"%04d\n" % number for number in range(1, 3001)))
    found = view.block(place, LineIndexes(), wanted)
    assert (found.first, found.lines[0].text, found.lines[-1].text) == (numbers[0], f"{numbers[0]:04}", f"{numbers[1]:04}")


def test_a_line_has_the_time_of_its_part_or_the_end_of_the_try(tmp_path: Path) -> None:
    place = a_place(tmp_path, b"a\nb\n")
    ended = clock.to_micros(AT) // 1000 + 5000
    assert [line.at for line in view.block(place, LineIndexes(), Wanted()).lines] == [ended, ended]
    logtimes.note(str(place.path), 0, 7)
    logtimes.note(str(place.path), 2, 9)
    assert [line.at for line in view.block(place, LineIndexes(), Wanted()).lines] == [7, 9]


def test_a_task_or_try_that_is_not_there_is_said(tmp_path: Path) -> None:
    place = a_place(tmp_path)
    settings = configuration.load(home=tmp_path, environ={})
    with pytest.raises(TaskNotFound):
        view.place(settings, place.run, "other", 1)
    for number in (0, 3):
        with pytest.raises(NotFound, match=f"no try {number}"):
            view.place(settings, place.run, "t", number)
    assert view.place(settings, place.run, "t", 2).may_grow
    assert not place.may_grow
