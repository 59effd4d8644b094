from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from rqflow import settings
from rqflow.actions import logs, runlogs
from rqflow.actions.model import Run, TaskInstance, Try
from rqflow.exceptions import NotFound
from rqflow.recorder import logtimes
from rqflow.settings import Settings
from rqflow.states import RunState, TaskState

THEN = datetime(2026, 1, 1, tzinfo=UTC)


def a_task(name: str) -> TaskInstance:
    one = Try(try_number=1, state=TaskState.SUCCESS, worker="w", ended_at=THEN)
    return TaskInstance(task_id=name, state=TaskState.SUCCESS, try_number=1, tries=(one,))


def a_run(*tasks: TaskInstance) -> Run:
    return Run(dag_id="d", run_id="r", run_key="k", state=RunState.SUCCESS, conf={}, params={}, logical_date=THEN, tasks=tasks)


def write(found: Settings, run: Run, name: str, *pieces: tuple[int, bytes]) -> None:
    """Write a log as the archive does, of pieces that came at these seconds."""
    file = Path(found.logs.folder) / logs.path(run, name, 1)
    file.parent.mkdir(parents=True)
    for second, piece in pieces:
        logtimes.note(str(file), file.stat().st_size if file.exists() else 0, second * 1000)
        with file.open("ab") as out:
            out.write(piece)
    file.chmod(0o440)


def test_lines_of_many_logs_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    found = settings.load(home=tmp_path, environ={"RQFLOW__LOGS__FOLDER": str(tmp_path)})
    run = a_run(*map(a_task, "abc"))
    write(found, run, "a", (1, b"a1\na2"), (5, b" goes on\na3\n"))
    write(found, run, "b", (2, b"b1\n"), (3, b"b2\n\xff"), (9, b"\nend"))
    missed: list[NotFound] = []
    lines = [(one.task_id, one.line.text) for one in runlogs.merged(logs.Archive(found), run, run.tasks, missed.append)]
    assert lines == [("a", b"a1\n"), ("b", b"b1\n"), ("b", b"b2\n"), ("a", b"a2 goes on\n"), ("a", b"a3\n"), ("b", b"\xff\n"), ("b", b"end")]
    assert [error.message.startswith("there is no log of c, try 1") for error in missed] == [True]


def test_pieces_of_many_logs_become_whole_lines() -> None:
    a, b = a_task("a"), a_task("b")
    pieces = [(a, b"one\ntw"), (b, b"x"), (a, b"o\n"), (b, b"y\nz"), (a, b"")]
    lines = [(one.task_id, one.line.text) for one in runlogs.whole_lines(pieces)]
    assert lines == [("a", b"one\n"), ("a", b"two\n"), ("b", b"xy\n"), ("b", b"z")]


def test_a_line_that_never_ends_is_passed_on() -> None:
    pieces = [(a_task("a"), b"x" * (runlogs.LONGEST + 1)), (a_task("a"), b"y\n")]
    assert [len(one.line.text) for one in runlogs.whole_lines(pieces)] == [runlogs.LONGEST + 1, 2]
