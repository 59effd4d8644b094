"""Reading logs of tasks out of the archive, whole or as they grow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from rqflow import clock
from rqflow.actions import query, select
from rqflow.actions.model import Run, TaskInstance
from rqflow.dag.version import Version
from rqflow.exceptions import NotFound
from rqflow.recorder.logpath import log_path
from rqflow.settings import Settings
from rqflow.states import TaskState

CHUNK = 1 << 16
#: Seconds between two looks at a growing log, and for which the rest of a log may be on its way after its try has ended.
EVERY, PATIENCE = 0.1, 5.0
_CONTROLS = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def path(settings: Settings, run: Run, task_id: str, try_number: int) -> Path:
    """Return where the archive keeps the log of a try."""
    if run.logical_date is None:
        raise NotFound(f"the logical date of run {run.run_id} is not known, and so not where its logs are")
    return Path(settings.logs.folder) / log_path(run.dag_id, task_id, run.logical_date, try_number)


def chosen(run: Run, version: Version, selector: str) -> list[TaskInstance]:
    """Return those of the task instances that a TASK argument names which have begun a try; raises TaskNotFound."""
    names = {version.tasks[index].task_id for index in select.tasks(version, selector, query.states_of(run))}
    return [task for task in run.tasks if task.task_id in names and task.tries]


def read(settings: Settings, run: Run, task_id: str, try_number: int, *, start: int = 0) -> Iterator[bytes]:
    """Yield the bytes of a log from `start` on as they are; raises NotFound when the archive has none."""
    file = path(settings, run, task_id, try_number)
    try:
        with file.open("rb") as stream:
            stream.seek(start)
            while chunk := stream.read(CHUNK):
                yield chunk
    except FileNotFoundError:
        raise NotFound(f"there is no log of {task_id}, try {try_number}, in {settings.logs.folder}",
                       hint="Has it begun? On a machine other than the hub, logs are read there.") from None


def follow(settings: Settings, run: Run, task_id: str, try_number: int, *, state: Callable[[], TaskInstance]) -> Iterator[bytes]:
    """Yield the bytes of a log as they arrive, until the try has ended and its log is whole.

    `state` asks how the task instance stands now.
    """
    at = 0
    ended_at: float | None = None
    while True:
        try:
            for chunk in read(settings, run, task_id, try_number, start=at):
                at += len(chunk)
                yield chunk
                ended_at = None
        except NotFound:
            pass  # not begun, or nothing of it has arrived
        now = clock.monotonic()
        if _is_over(state(), try_number, at):
            return
        if _has_ended(state(), try_number):
            ended_at = ended_at or now
            if now - ended_at > PATIENCE:
                return
        clock.sleep(EVERY)


def _has_ended(task: TaskInstance, try_number: int) -> bool:
    return task.try_number > try_number or (task.try_number == try_number and task.state is not TaskState.RUNNING and task.ended_at is not None)


def _is_over(task: TaskInstance, try_number: int, size: int) -> bool:
    """Tell whether the try has ended and `size` is all of its log."""
    whole = next((one.log_bytes for one in task.tries if one.try_number == try_number), None)
    return _has_ended(task, try_number) and whole is not None and size >= whole


def last_line(settings: Settings, run: Run, task_id: str, try_number: int) -> str:
    """Return the last line of a log without colours and controls; empty when there is none yet."""
    try:
        with path(settings, run, task_id, try_number).open("rb") as stream:
            stream.seek(max(stream.seek(0, 2) - 4096, 0))
            tail = stream.read()
    except OSError:
        return ""
    lines = [line for line in re.split(rb"[\r\n]+", _CONTROLS.sub(b"", tail)) if line.strip()]
    return lines[-1].decode("utf-8", errors="replace").strip() if lines else ""
