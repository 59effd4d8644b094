"""The logs of a run's tasks together: one after the other, or line by line in the order in which they came."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rqflow import clock
from rqflow.actions import logs
from rqflow.actions.loglines import LONGEST, Line, Part, lines
from rqflow.actions.model import Run, TaskInstance
from rqflow.broker.broker import Broker
from rqflow.exceptions import NotFound
from rqflow.settings import Settings
from rqflow.store.engine import Engine

_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskLine:
    """A line of the log of a task's try."""

    task_id: str
    try_number: int
    line: Line


def of_task(settings: Settings, run: Run, task: TaskInstance) -> Iterator[TaskLine]:
    """Yield the lines of a task's last try; raises NotFound when the archive has no log of it."""
    stamp = logs.stamp(settings, run, task.task_id, task.try_number)
    for line in lines(logs.read(settings, run, task.task_id, task.try_number), Part(), stamp):
        yield TaskLine(task_id=task.task_id, try_number=task.try_number, line=line)


def merged(settings: Settings, run: Run, tasks: Sequence[TaskInstance], miss: Callable[[NotFound], None]) -> Iterator[TaskLine]:
    """Yield the lines of the last tries of tasks in the order in which they came; calls `miss` for a log that is not there."""

    def keyed(number: int, task: TaskInstance) -> Iterator[tuple[datetime, int, TaskLine]]:
        latest = _EVER
        try:
            for one in of_task(settings, run, task):
                latest = max(latest, one.line.at or latest)
                yield latest, number, one
        except NotFound as error:
            miss(error)

    for _, _, one in heapq.merge(*(keyed(number, task) for number, task in enumerate(tasks)), key=lambda item: item[:2]):
        yield one


def followed(broker: Broker, engine: Engine, settings: Settings, run: Run, names: Collection[str]) -> Iterator[TaskLine]:
    """Yield whole lines of these tasks as they come, until the run has ended; each has the time at which it was seen in the archive."""
    return whole_lines(logs.follow_run(broker, engine, settings, run, names))


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
