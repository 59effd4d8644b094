"""Reading logs of tasks out of the archive, whole or as they grow."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rqflow import clock
from rqflow.actions import query, select
from rqflow.actions.loglines import Stamp
from rqflow.actions.model import Run, TaskInstance, Try
from rqflow.broker.broker import Broker
from rqflow.broker.logstream import LogStream
from rqflow.dag.run import SCHEDULED
from rqflow.dag.version import Version
from rqflow.exceptions import NotFound, TaskNotFound
from rqflow.recorder.archive import LogReader
from rqflow.recorder.logpath import log_path
from rqflow.settings import Settings
from rqflow.states import FAILURE_STATES, TaskState
from rqflow.store.engine import Engine

_CONTROLS = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
#: Bytes in which the last line of a log is looked for.
TAIL = 4096
#: Seconds that the archive is waited for, and after the end of a try for how long that makes sense.
ARCHIVE_PATIENCE, JUST_NOW = 3.0, 60.0
#: Seconds between two looks at the logs of a run.
FOLLOW_EVERY = 0.3


def reader(settings: Settings) -> LogReader:
    """Return the reader of this hub's archive."""
    return LogReader(Path(settings.logs.folder))


def path(run: Run, task_id: str, try_number: int) -> PurePosixPath:
    """Return where the log of a try is below the archive's folder; raises NotFound for a run of which too little is known."""
    if run.logical_date is None:
        raise NotFound(f"the logical date of run {run.run_id} is not known, and so not where its logs are")
    return log_path(run.dag_id, task_id, run.logical_date, try_number, run_key="" if run.run_type == SCHEDULED else run.run_key)


def chosen(run: Run, version: Version, selector: str, *, failed: bool = False) -> list[TaskInstance]:
    """Return those of the task instances that a TASK argument names which have begun a try, or only what `failed`; raises TaskNotFound."""
    names = {version.tasks[index].task_id for index in select.tasks(version, selector, query.states_of(run))}
    return [task for task in run.tasks if task.task_id in names and task.tries and (task.state in FAILURE_STATES or not failed)]


def task_of(run: Run, task_id: str) -> TaskInstance:
    """Return the task instance of this id; raises TaskNotFound."""
    for task in run.tasks:
        if task.task_id == task_id:
            return task
    raise TaskNotFound(f"run {run.run_id} of {run.dag_id} has no task {task_id}")


def read(settings: Settings, run: Run, task_id: str, try_number: int, *, start: int = 0) -> Iterator[bytes]:
    """Yield the bytes of a log as they are, from `start` on, a negative one counting from the end.

    Waits a moment for the rest of the log of a try that ended just now. Raises NotFound when the archive has none.
    """
    archive, where = reader(settings), path(run, task_id, try_number)
    must_be_there(settings, run, task_id, try_number)
    size = archive.size(where)
    at = max(size + start, 0) if start < 0 else start
    while at < size and (data := archive.read(where, at)):
        at += len(data)
        yield data


@dataclass(frozen=True, slots=True)
class Archive:
    """The logs of the hub of these settings."""

    settings: Settings

    def read(self, run: Run, task_id: str, try_number: int) -> Iterator[bytes]:
        """Yield the bytes of a log; raises NotFound when there is none."""
        return read(self.settings, run, task_id, try_number)

    def stamp(self, run: Run, task_id: str, try_number: int) -> Stamp:
        """Return what says when each byte of a log came."""
        return stamp(self.settings, run, task_id, try_number)


def must_be_there(settings: Settings, run: Run, task_id: str, try_number: int) -> None:
    """Raise NotFound when the archive has no log of a try; wait a moment for the rest of the log of one that ended just now."""
    archive, where = reader(settings), path(run, task_id, try_number)
    held = [each for each in task_of(run, task_id).tries if each.try_number == try_number]
    if held and held[0].ended_at and not held[0].worker:
        raise NotFound(f"there is no log of {task_id}, try {try_number}: no worker had it")
    _let_it_arrive(archive, where, held)
    if not (archive.folder / where).exists():
        raise NotFound(f"there is no log of {task_id}, try {try_number}, in {archive.folder}",
                       hint="Has it begun? Logs are read on the hub, where the archive is.")


def is_over(settings: Settings, run: Run, task_id: str, try_number: int) -> bool:
    """Tell whether nothing more comes of a log: its try has ended, and it is whole, or was waited for in vain."""
    task = task_of(run, task_id)
    if task.try_number <= try_number and (task.state is TaskState.RUNNING or not task.tries or task.try_number < try_number):
        return False
    ended = [each.ended_at for each in task.tries if each.try_number == try_number and each.ended_at]
    is_late = bool(ended) and (clock.utcnow() - ended[0]).total_seconds() > ARCHIVE_PATIENCE
    return is_late or reader(settings).is_whole(path(run, task_id, try_number))


def stamp(settings: Settings, run: Run, task_id: str, try_number: int) -> Stamp:
    """Return what says when each byte of a log came."""
    ended = [each.ended_at for each in task_of(run, task_id).tries if each.try_number == try_number]
    return reader(settings).times(path(run, task_id, try_number), ended[0] if ended else None).at


def _let_it_arrive(archive: LogReader, where: PurePosixPath, tries: Sequence[Try]) -> None:
    """Wait a moment for the rest of a log when the try, the only one of `tries`, ended just now."""
    deadline = clock.monotonic() + (ARCHIVE_PATIENCE if any(map(ended_just_now, tries)) else 0)
    while not archive.is_whole(where) and clock.monotonic() < deadline:
        clock.sleep(0.05)


def ended_just_now(one: Try) -> bool:
    """Tell whether a try ended so recently that its log may still be on its way into the archive."""
    return one.ended_at is not None and (clock.utcnow() - one.ended_at).total_seconds() < JUST_NOW


def tail(settings: Settings, run: Run, task: TaskInstance, size: int) -> bytes:
    """Return the last `size` bytes of the log of a task's current try; nothing when there is none.

    Waits a moment for the rest of the log of a try that ended just now.
    """
    if not task.try_number:
        return b""
    archive, where = reader(settings), path(run, task.task_id, task.try_number)
    _let_it_arrive(archive, where, [one for one in task.tries if one.try_number == task.try_number and one.worker])
    return archive.read(where, -size, size)


def follow(broker: Broker, engine: Engine, settings: Settings, run: Run, task_id: str, try_number: int) -> Iterator[bytes]:
    """Yield the bytes of a log as they arrive, until the try has ended and its log is whole."""

    def has_ended() -> bool:
        now = task_of(query.show(broker, engine, run.run_key), task_id)
        return now.try_number > try_number or (now.state is not TaskState.RUNNING and now.try_number == try_number and bool(now.tries))

    return reader(settings).follow(path(run, task_id, try_number), has_ended)


def follow_run(
    broker: Broker, engine: Engine, settings: Settings, run: Run, names: Collection[str],
) -> Iterator[tuple[TaskInstance, bytes]]:
    """Yield what the tasks of a run print, with the task, as it arrives, until the run has ended and these logs are whole.

    Of each task that is among `names` the current try, from its beginning, and those after it.
    """
    archive = reader(settings)
    seen: dict[PurePosixPath, int] = {}
    ended_at: float | None = None
    while True:
        for task in run.tasks:
            if task.task_id in names and task.tries:
                where = path(run, task.task_id, task.try_number)
                while data := archive.read(where, seen.setdefault(where, 0)):
                    seen[where] += len(data)
                    yield task, data
        if run.is_finished:
            ended_at = ended_at or clock.monotonic()
            if all(map(archive.is_whole, seen)) or clock.monotonic() - ended_at > ARCHIVE_PATIENCE:
                return
        clock.sleep(FOLLOW_EVERY)
        run = query.show(broker, engine, run.run_key)


def held_back(broker: Broker, settings: Settings, run: Run, task_id: str, try_number: int) -> str:
    """Return in words why the rest of a log is not in the archive, when that takes no logs now; empty when the log is whole, or it does."""
    held = LogStream(broker.connection).held()
    if held is None or reader(settings).is_whole(path(run, task_id, try_number)):
        return ""
    return (f"The log is cut off here: since {held.since:%Y-%m-%d %H:%M:%S} UTC the hub archives no logs, because {held.reason}. "
            "Nothing is lost: the rest is on the worker and comes when there is room again.")


def last_line(settings: Settings, run: Run, task_id: str, try_number: int) -> str:
    """Return the last line of a log without colours and controls; empty when there is none yet."""
    end = reader(settings).read(path(run, task_id, try_number), -TAIL)
    lines = [line for line in re.split(rb"[\r\n]+", _CONTROLS.sub(b"", end)) if line.strip()]
    return lines[-1].decode("utf-8", errors="replace").strip() if lines else ""
