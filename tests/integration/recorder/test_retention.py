"""Old logs leave the archive; what is live, written or followed stays."""

from __future__ import annotations

import itertools
import os
import threading
import time
from datetime import timedelta
from pathlib import Path, PurePosixPath

import pytest
import redis

from rqflow.broker.broker import Broker
from rqflow.broker.logstream import LogChunk, LogStream
from rqflow.recorder import logtimes, retention
from rqflow.recorder.archive import LogArchive, LogReader
from rqflow.recorder.logpath import log_path
from rqflow.recorder.retention import LogRetention
from rqflow.settings import Settings
from tests.unit.builders import a_run, a_version
from tests.waiting import until

KEEP = timedelta(days=90)


def a_log(folder: Path, path: str, *, days: float, mode: int = 0o440) -> Path:
    """A log that was written last `days` ago, in folders as old."""
    log = folder / path
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("x\n")
    log.chmod(mode)
    at = time.time() - days * 86400
    for one in (log, *log.parents[:3]):
        os.utime(one, (at, at))
    return log


def one_round(sweeper: LogRetention) -> None:
    """All steps until the next round is far away."""
    while sweeper.step() < 1:
        pass


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_logs_older_than_the_retention_go_and_empty_folders_with_them(tmp_path: Path) -> None:
    a_log(tmp_path, "d/old/2026-01-01/1.log", days=91)
    a_log(tmp_path, "d/old/2026-01-01/2.log", days=91, mode=0o640)
    a_log(tmp_path, "d/both/2026-01-01/1.log", days=91)
    a_log(tmp_path, "d/both/2026-01-01/2.log", days=89)
    gone = a_log(tmp_path, "gone/t/2026-01-01/1.log", days=400)
    logtimes.note(str(gone), 0, 1)
    other = a_log(tmp_path, "d/both/2026-01-01/notes.txt", days=400)
    sweeper = LogRetention(tmp_path, KEEP, list)
    one_round(sweeper)
    assert names(tmp_path) == {"d", "d/both", "d/both/2026-01-01", "d/both/2026-01-01/2.log", "d/both/2026-01-01/notes.txt"}
    assert other.exists()
    assert sweeper.removed == 4


def test_an_empty_folder_that_is_new_stays(tmp_path: Path) -> None:
    (tmp_path / "d" / "t" / "2026-01-01").mkdir(parents=True)
    one_round(LogRetention(tmp_path, KEEP, list))
    assert names(tmp_path) == {"d", "d/t", "d/t/2026-01-01"}
    os.utime(tmp_path / "d" / "t" / "2026-01-01", (0, 0))
    one_round(LogRetention(tmp_path, KEEP, list))
    assert names(tmp_path) == set()


def test_many_logs_go_in_small_steps(tmp_path: Path) -> None:
    for number in range(1200):
        a_log(tmp_path, f"d/t/{number}/1.log", days=91)
    sweeper = LogRetention(tmp_path, KEEP, list)
    removed = [0]
    while sweeper.step() < 1:
        removed.append(sweeper.removed)
    assert sweeper.removed == 1200
    assert max(after - before for before, after in itertools.pairwise(removed)) <= retention.STEP


@pytest.mark.parametrize("run_type", ["manual", "scheduled"])
def test_logs_of_a_run_that_redis_has_stay_however_old(db: redis.Redis, home: Path, tmp_path: Path, run_type: str) -> None:
    broker, version = Broker(db, Settings(home=home)), a_version(["t"])
    live, over = (a_run(version, run_id=name, run_type=run_type, logical_date=date) for name, date in
                  (("live", a_run().logical_date), ("over", a_run().logical_date + timedelta(days=1))))
    broker.create_run(live, version)
    paths = [str(log_path("d", "t", run.logical_date, 1, run_key="" if run_type == "scheduled" else run.key)) for run in (live, over)]
    for path in paths:
        a_log(tmp_path, path, days=91, mode=0o640)
    one_round(retention.retention(broker, tmp_path, KEEP))
    assert [(tmp_path / path).exists() for path in paths] == [True, False]


def test_log_that_is_followed_stays_until_its_reader_is_done(tmp_path: Path) -> None:
    log = a_log(tmp_path, "d/t/2026-01-01/1.log", days=91, mode=0o640)
    finished = threading.Event()
    reading = LogReader(tmp_path).follow(PurePosixPath("d/t/2026-01-01/1.log"), finished.is_set, patience=0.0)
    assert next(reading) == b"x\n"
    one_round(LogRetention(tmp_path, KEEP, list))
    assert log.exists()
    finished.set()
    assert list(reading) == []
    one_round(LogRetention(tmp_path, KEEP, list))
    assert not log.exists()


def test_archive_and_retention_together_lose_nothing(db: redis.Redis, redis_url: str, tmp_path: Path) -> None:
    """Each log is old as soon as it is written: whatever an archive adds is either in a file or was removed after its end."""
    stream, stop = LogStream(db), threading.Event()
    sweeper = LogRetention(tmp_path / "logs", timedelta(seconds=3600), list)
    archive = LogArchive(LogStream(redis.Redis.from_url(redis_url)), tmp_path / "logs")

    def sweep() -> None:
        while not stop.is_set():
            sweeper._next_round = 0.0
            sweeper.step()

    threads = [threading.Thread(target=sweep), threading.Thread(target=archive.run, args=(stop,))]
    for thread in threads:
        thread.start()
    try:
        for number in range(200):
            stream.append([LogChunk(execution_id=f"e{number}", path=f"d/t/{number % 7}-{number}/1.log", offset=0, data=b"x", last=True)])
        until(lambda: archive.archived == 200, what="all logs to be archived")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    archive.stream.connection.close()
    assert len(list((tmp_path / "logs").rglob("*.log"))) == 200


def test_log_removed_just_before_it_is_written_begins_anew(db: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, archive = LogStream(db), LogArchive(LogStream(db), tmp_path)
    log = a_log(tmp_path, "d/t/x/1.log", days=91, mode=0o640)
    opened = os.open

    def remove_after(path: object, *more: object) -> int:
        """What another process does between our open and our lock."""
        descriptor = opened(path, *more)
        if str(path) == str(log) and log.exists() and log.read_bytes() == b"x\n":
            log.unlink()
        return descriptor

    monkeypatch.setattr("rqflow.recorder.archive.os.open", remove_after)
    stream.append([LogChunk(execution_id="e", path="d/t/x/1.log", offset=0, data=b"new", last=True)])
    archive.step()
    assert log.read_bytes() == b"new"
