"""Old logs leave the archive: those of runs that were removed, and those that nobody has written for longer than they are kept.

A log that is being written or followed is locked (flock) by whoever does so, and stays; so do the logs of all runs that Redis has.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from rqflow import clock, logs
from rqflow.broker.broker import Broker
from rqflow.dag.run import SCHEDULED
from rqflow.recorder import beginnings, logtimes
from rqflow.recorder.logpath import log_path, run_parts
from rqflow.recorder.loop import keep_running

logger = logging.getLogger(__name__)

#: Seconds between two rounds through the archive; entries that one step looks at, and the pause after it.
EVERY, STEP, PAUSE = 3600.0, 500, 0.05
#: An empty folder that was changed less than so many seconds ago may be about to get its first log.
_FRESH = 60.0


class LogRetention:
    """Removes logs that have not been written for `keep` below `folder`, in rounds of small steps."""

    def __init__(self, folder: Path, keep: timedelta, live: Callable[[], Collection[tuple[str, str]]]) -> None:
        """`live` tells of which runs no log may go, as logpath.run_parts names them."""
        self.folder = folder
        self._keep = keep.total_seconds()
        self._live = live
        self._round: Iterator[int] = iter(())
        self._next_round = 0.0
        #: Logs removed since the start.
        self.removed = 0

    def run(self, stop: threading.Event) -> None:
        """Go on until `stop` is set; does nothing where logs are kept for ever."""
        def step() -> None:
            stop.wait(self.step())

        if self._keep > 0:
            keep_running(step, stop, name="log retention")

    def step(self) -> float:
        """Look at some entries of the archive; return the seconds until the next step."""
        for seen, gone in enumerate(self._round, 1):
            self.removed += gone
            if seen >= STEP:
                return PAUSE
        if clock.monotonic() >= self._next_round:
            self._next_round = clock.monotonic() + EVERY
            self._round = self._sweep(self.folder, (), clock.timestamp() - self._keep, frozenset(self._live()))
            return 0.0
        return self._next_round - clock.monotonic()

    def _sweep(self, folder: Path, parts: tuple[str, ...], before: float, live: Collection[tuple[str, str]]) -> Generator[int, None, bool]:
        """Remove what is old in `folder`, then the folder if it is empty; give 1 for each log removed, 0 for each kept.

        Return whether the folder went.
        """
        if len(parts) >= 3 and (parts[0], parts[2]) in live:
            return False
        went = False
        with suppress(FileNotFoundError):
            for entry in list(os.scandir(folder)):
                if entry.is_dir(follow_symlinks=False):
                    went = (yield from self._sweep(folder / entry.name, (*parts, entry.name), before, live)) or went
                elif entry.name.endswith(".log"):
                    gone = entry.stat(follow_symlinks=False).st_mtime < before and remove_log(Path(entry.path), before)
                    went = went or gone
                    yield int(gone)
        if parts and (went or _age(folder) > _FRESH):
            with suppress(OSError):
                folder.rmdir()
                return True
        return False


def retention(broker: Broker, folder: Path, keep: timedelta) -> LogRetention:
    """Return the retention of a hub's archive, which asks Redis, by a broker of its own, for the runs whose logs must stay."""
    return LogRetention(folder, keep, lambda: [parts for key in broker.all_runs() if (parts := _parts_of(broker, key))])


def remove_run(folder: Path, dag_id: str, task_ids: Collection[str], logical_date: datetime, *, run_key: str = "") -> int:
    """Remove the logs of a run, named as for logpath.log_path, and the folders that are empty then; return how many logs went."""
    removed = 0
    for path in run_folders(folder, dag_id, task_ids, logical_date, run_key=run_key):
        with suppress(FileNotFoundError):
            removed += sum(remove_log(Path(entry.path)) for entry in list(os.scandir(path)) if entry.name.endswith(".log"))
        with suppress(OSError):
            for empty in (path, path.parent, path.parent.parent):
                empty.rmdir()
    return removed


def remove_whole_run(folder: Path, dag_id: str, logical_date: datetime, *, run_key: str = "") -> None:
    """Remove the logs of all tasks of a run, whatever they are called, and the folders that are empty then."""
    dag, date = run_parts(dag_id, logical_date, run_key=run_key)
    for path in [task / date for task in _folders(folder / dag)]:
        _remove_below(path)
        with suppress(OSError):
            path.parent.rmdir()
            path.parent.parent.rmdir()


def remove_dag(folder: Path, dag_id: str) -> None:
    """Remove the logs of all runs of a DAG, and its folder."""
    dag, _ = run_parts(dag_id, clock.EPOCH)
    _remove_below(folder / dag)


def remove_all(folder: Path) -> None:
    """Remove all logs of an archive that nobody writes now, and what it knows of their beginnings."""
    for below in _folders(folder):
        _remove_below(below)
    for name in (beginnings.NAME, beginnings.OLD):
        (folder / name).unlink(missing_ok=True)


def _folders(path: Path) -> list[Path]:
    with suppress(FileNotFoundError):
        return [Path(entry.path) for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False)]
    return []


def _remove_below(path: Path) -> None:
    """Remove the logs in a folder and below it, as far as nobody has them in use, and what folders are empty then."""
    for below in _folders(path):
        _remove_below(below)
    with suppress(FileNotFoundError):
        for entry in list(os.scandir(path)):
            if entry.name.endswith(".log"):
                remove_log(Path(entry.path))
    with suppress(OSError):
        path.rmdir()


def run_folders(folder: Path, dag_id: str, task_ids: Collection[str], logical_date: datetime, *, run_key: str = "") -> list[Path]:
    """Return the folders in which the logs of a run are."""
    return [(folder / log_path(dag_id, task_id, logical_date, 1, run_key=run_key)).parent for task_id in task_ids]


def count_run(folder: Path, dag_id: str, task_ids: Collection[str], logical_date: datetime, *, run_key: str = "") -> int:
    """Return how many logs a run has."""
    return sum(len(list(path.glob("*.log"))) for path in run_folders(folder, dag_id, task_ids, logical_date, run_key=run_key))


def remove_log(path: Path, before: float | None = None) -> bool:
    """Remove a log unless somebody writes or follows it, or has written since `before` (seconds since the epoch); tell whether it went."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if before is not None and os.fstat(descriptor).st_mtime >= before:
            return False
        path.unlink(missing_ok=True)
        logtimes.remove(path)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    logger.debug("removed the log %s", path, extra=logs.context("log_removed", path=str(path)))
    return True


def _parts_of(broker: Broker, run_key: str) -> tuple[str, str] | None:
    run = broker.run_info(run_key)
    return run_parts(run.dag_id, run.logical_date, run_key="" if run.run_type == SCHEDULED else run.key) if run else None


def _age(folder: Path) -> float:
    try:
        return clock.timestamp() - folder.stat().st_mtime
    except OSError:
        return 0.0
