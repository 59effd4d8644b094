"""The logs of a run's tasks together: one after the other, or line by line in the order in which they came."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from rqflow import clock
from rqflow.actions.loglines import LONGEST, Line, Part, Stamp, lines
from rqflow.actions.model import Run, TaskInstance
from rqflow.exceptions import NotFound

_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskLine:
    """A line of the log of a task's try."""

    task_id: str
    try_number: int
    line: Line


class Logs(Protocol):
    """Where logs are: the archive of this hub, or a hub elsewhere."""

    def read(self, run: Run, task_id: str, try_number: int) -> Iterator[bytes]:
        """Yield the bytes of a log; raises NotFound when there is none."""

    def stamp(self, run: Run, task_id: str, try_number: int) -> Stamp:
        """Return what says when each byte of a log came."""


def of_task(source: Logs, run: Run, task: TaskInstance) -> Iterator[TaskLine]:
    """Yield the lines of a task's last try; raises NotFound when there is no log of it."""
    chunks = source.read(run, task.task_id, task.try_number)
    for line in lines(chunks, Part(), source.stamp(run, task.task_id, task.try_number)):
        yield TaskLine(task_id=task.task_id, try_number=task.try_number, line=line)


def merged(source: Logs, run: Run, tasks: Sequence[TaskInstance], miss: Callable[[NotFound], None]) -> Iterator[TaskLine]:
    """Yield the lines of the last tries of tasks in the order in which they came; calls `miss` for a log that is not there."""

    def keyed(number: int, task: TaskInstance) -> Iterator[tuple[datetime, int, TaskLine]]:
        latest = _EVER
        try:
            for one in of_task(source, run, task):
                latest = max(latest, one.line.at or latest)
                yield latest, number, one
        except NotFound as error:
            miss(error)

    for _, _, one in heapq.merge(*(keyed(number, task) for number, task in enumerate(tasks)), key=lambda item: item[:2]):
        yield one


def whole_lines(pieces: Iterable[tuple[TaskInstance, bytes]]) -> Iterator[TaskLine]:
    """Put pieces of several logs together to lines, which come now; one without an end comes last, or when it gets too long."""
    rests: dict[tuple[str, int], bytes] = {}
    for task, data in pieces:
        key = task.task_id, task.try_number
        *ended, rest = (rests.pop(key, b"") + data).split(b"\n")
        yield from (_task_line(key, text + b"\n") for text in ended)
        if len(rest) > LONGEST:
            yield _task_line(key, rest)
        elif rest:
            rests[key] = rest
    yield from (_task_line(key, rest) for key, rest in rests.items())


def _task_line(key: tuple[str, int], text: bytes) -> TaskLine:
    return TaskLine(task_id=key[0], try_number=key[1], line=Line(text, clock.utcnow()))
