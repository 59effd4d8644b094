"""Operations on logs of tasks."""

from __future__ import annotations

import base64
import codecs
from dataclasses import dataclass
from datetime import datetime

from rqflow import clock
from rqflow.actions import logs, query
from rqflow.actions.model import Run
from rqflow.api.hub import Hub
from rqflow.api.operation import about, operation
from rqflow.api.runs import OneRun
from rqflow.api.tasks import OneTask
from rqflow.exceptions import UsageError
from rqflow.recorder import logtimes
from rqflow.security.roles import Role

#: Bytes of a log that one answer has, when nothing else is asked for, and at most; tasks of which one answer has the last lines.
SOME, MOST, TASKS = 1 << 16, 1 << 20, 100


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadLog(OneTask):
    """Which part of the log of which try."""

    try_number: int | None = about("The number of the try; the last one when not given.", None)
    start: int = about("From this byte on; a negative one counts from the end.", 0, most=1 << 62)
    limit: int = about("At most so many bytes.", SOME)
    follow: bool = about("Ask for what is to come: a log that has not begun is empty, and nothing is waited for.", False)
    base64: bool = about("Give the bytes as they are, in base64, and not as text.", False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """When the part of a log came that begins at a byte."""

    offset: int
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class LogPart:
    """Part of the log of a try: the bytes from `start` up to `end`, which is where the next part begins."""

    task_id: str
    try_number: int
    start: int
    end: int
    #: Bytes that there are now; whether more may come.
    size: int
    is_over: bool
    #: Text in which what is no UTF-8 is replaced, or base64.
    content: str
    times: tuple[Moment, ...]
    #: Why the archive takes no logs now; empty: it does, or has all of this one.
    held_back: str = ""


@operation("tasks.log", "GET", "/runs/{run}/tasks/{task_id}/log", Role.VIEWER)
def read_log(hub: Hub, asked: ReadLog) -> LogPart:
    """Show part of what a try of a task has printed; asked again from `end` on until `is_over`, all of it."""
    if not 1 <= asked.limit <= MOST:
        raise UsageError(f"limit: {asked.limit} is not from 1 to {MOST}")
    if asked.try_number is not None and asked.try_number < 1:
        raise UsageError("try_number: tries are counted from 1")
    record = hub.run(asked.run)
    run = query.show_task(hub.live, hub.engine, record.run_key, asked.task_id)
    number = asked.try_number or max(run.tasks[0].try_number, 1)
    where, archive = logs.path(run, asked.task_id, number), logs.reader(hub.settings)
    # Asked before the file is looked at: what came in between is read.
    is_over = logs.is_over(hub.settings, run, asked.task_id, number)
    if not asked.follow:
        logs.must_be_there(hub.settings, run, asked.task_id, number)
    size = archive.size(where)
    start = max(size + asked.start, 0) if asked.start < 0 else asked.start
    data = archive.read(where, start, asked.limit)
    size = max(size, start + len(data))
    content, taken = (base64.b64encode(data).decode("ascii"), len(data)) if asked.base64 else _text(data, is_last=start + len(data) >= size)
    return LogPart(task_id=asked.task_id, try_number=number, start=start, end=start + taken, size=size, is_over=is_over and start + taken >= size,
                   content=content, times=_times(hub, run, asked.task_id, number, start, start + taken),
                   held_back=logs.held_back(hub.live, hub.settings, run, asked.task_id, number))


@dataclass(frozen=True, kw_only=True, slots=True)
class LastLines(OneRun):
    """Of which tries of its tasks; the two lists go together."""

    task_id: list[str] = about(f"Ids of tasks, {TASKS} at most.")
    try_number: list[int] = about("The try of each of them.")


@operation("runs.last_lines", "GET", "/runs/{run}/last-lines", Role.VIEWER)
def last_lines(hub: Hub, asked: LastLines) -> dict[str, str]:
    """Show the last line that each of these tries has printed, without colours; those that have printed none are left out."""
    wanted = dict(zip(asked.task_id, asked.try_number, strict=False))
    if len(asked.task_id) != len(asked.try_number) or not 1 <= len(wanted) <= TASKS or min(wanted.values()) < 1:
        raise UsageError(f"task_id and try_number: as many of the one as of the other, 1 to {TASKS}, and tries are counted from 1")
    record = hub.run(asked.run)
    known = query.version_of(hub.live, hub.engine, record).by_id
    run = query.as_run(record, None)
    found = {task_id: logs.last_line(hub.settings, run, task_id, number) for task_id, number in wanted.items() if task_id in known}
    return {task_id: line for task_id, line in found.items() if line}


def _text(data: bytes, *, is_last: bool) -> tuple[str, int]:
    """Return bytes as text, and how many of them that is: a character that is cut through is left to the next part."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data, final=is_last)
    rest = 0 if is_last else len(decoder.getstate()[0])
    return text, len(data) - rest


def _times(hub: Hub, run: Run, task_id: str, number: int, start: int, end: int) -> tuple[Moment, ...]:
    """Return when the parts of a log came that reach into [start, end)."""
    archive, where = logs.reader(hub.settings), logs.path(run, task_id, number)
    known = logtimes.between(archive.folder / where, start, end)
    if known:
        return tuple(Moment(offset=offset, at=clock.from_micros(at * 1000)) for offset, at in known)
    at = logs.stamp(hub.settings, run, task_id, number)(start) if end > start else None
    return (Moment(offset=0, at=at),) if at is not None else ()
