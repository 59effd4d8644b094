"""The log of one try as the page has it: which file that is, its blocks with numbers and times, and whether more comes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from rqflow import clock
from rqflow.actions import logs
from rqflow.actions.logview import blocks
from rqflow.actions.logview.blocks import Block
from rqflow.actions.logview.index import LineIndexes
from rqflow.actions.logview.logfile import LogFile, opened
from rqflow.actions.model import Run, TaskInstance, Try
from rqflow.exceptions import NotFound
from rqflow.recorder import logtimes
from rqflow.recorder.archive import LogReader
from rqflow.settings import Settings
from rqflow.states import TaskState

#: Seconds for which the numbers of lines are looked for before a block is given without them; those for which a named line is.
SOON, PATIENT = 0.15, 5.0
#: States in which the log of a task's current try may still grow.
_GROWS = {TaskState.RUNNING, TaskState.UP_FOR_RESCHEDULE, TaskState.QUEUED, TaskState.PARKED}


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The log of a try."""

    run: Run
    task: TaskInstance
    try_number: int
    #: The file in the archive, which need not be there yet.
    path: Path

    @property
    def one(self) -> Try | None:
        """The try; None: it has not begun, or nobody knows of it."""
        return next((each for each in self.task.tries if each.try_number == self.try_number), None)

    @property
    def may_grow(self) -> bool:
        """Whether more may come, as far as the run was known when it was read."""
        return self.task.try_number <= self.try_number and self.task.state in _GROWS

    def is_whole(self) -> bool:
        """Tell whether the end of the log is in the archive too."""
        return LogReader(self.path.parent).is_whole(PurePosixPath(self.path.name))

    def is_arriving(self) -> bool:
        """Tell whether the try ended so recently that the rest of its log may still be on its way from the worker."""
        one = self.one
        return one is not None and bool(one.worker) and logs.ended_just_now(one) and not self.is_whole()


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which lines are asked for: those from a byte on, those before it, those around it or around a line; else the last ones."""

    after: int | None = None
    before: int | None = None
    around: int | None = None
    #: Number from 1.
    line: int | None = None


def place(settings: Settings, run: Run, task_id: str, try_number: int) -> Place:
    """Return where the log of a try is; raises TaskNotFound, or NotFound when the task has no such try."""
    task = logs.task_of(run, task_id)
    if not 1 <= try_number <= max(task.try_number, *(one.try_number for one in task.tries), 1):
        raise NotFound(f"task {task_id} of run {run.run_id} has no try {try_number}")
    return Place(run=run, task=task, try_number=try_number, path=Path(settings.logs.folder) / logs.path(run, task_id, try_number))


def block(where: Place, indexes: LineIndexes, wanted: Wanted) -> Block:
    """Return a block of a log, empty when it has not begun.

    Its lines have numbers when these are soon found; asked for by its number, a line of a very long log takes some seconds once.
    """
    try:
        with opened(where.path) as file:
            found = _chosen(where, file, indexes, wanted)
            if found.first is None:
                found = replace(found, first=indexes.of(where.path, file).number_at(file, found.start, seconds=SOON))
    except FileNotFoundError:
        return Block(start=0, end=0, size=0, first=1)
    return blocks.timed(found, _moments(where, found))


def number_at(where: Place, indexes: LineIndexes, offset: int, *, seconds: float = 1.0) -> int | None:
    """Return the number of the line that begins at a byte; None when it is not found in so many seconds: ask again, it goes on."""
    try:
        with opened(where.path) as file:
            return indexes.of(where.path, file).number_at(file, min(offset, file.size), seconds=seconds)
    except FileNotFoundError:
        return None


def _chosen(where: Place, file: LogFile, indexes: LineIndexes, wanted: Wanted) -> Block:
    if wanted.after is not None:
        return blocks.after(file, wanted.after)
    if wanted.before is not None:
        return blocks.before(file, wanted.before)
    if wanted.around is not None:
        return blocks.around(file, wanted.around)
    if wanted.line is not None:
        offset = indexes.of(where.path, file).offset_of(file, wanted.line, seconds=PATIENT)
        if offset is not None:
            return blocks.around(file, offset)
    return blocks.before(file, file.size)


def _moments(where: Place, found: Block) -> list[tuple[int, int]]:
    """Return when the parts of a block came; a log that came in one piece came at its end."""
    moments = logtimes.between(where.path, found.start, found.end + 1)
    one = where.one
    if moments or one is None or one.ended_at is None:
        return moments
    return [(0, clock.to_micros(one.ended_at) // 1000)]
