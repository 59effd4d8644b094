"""A hub whose disk is nearly full: logs wait, say why, and go on by themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from rqflow.broker import keys
from rqflow.broker.logstream import LogStream
from rqflow.exceptions import StoreError
from rqflow.recorder.archive import LogArchive
from rqflow.recorder.room import Room
from rqflow.states import TaskState
from rqflow.store import schema
from rqflow.store.engine import open_engine
from tests.integration.recorder.events import a_task_event
from tests.integration.recorder.test_archive import PATH, a_chunk, room_for
from tests.integration.recorder.test_recorder import a_recorder, recorded, tell
from tests.services import needs
from tests.waiting import until


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    needs("mount", "umount")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, free: int) -> Path:
    """Leave `free` bytes on the disk of `folder`; return the file that takes the rest."""
    file = folder / "filling"
    file.write_bytes(b"\0" * (shutil.disk_usage(folder).free - free))
    return file


def test_room_names_the_disk_that_has_too_little(small_disk: Path, tmp_path: Path) -> None:
    room = Room([tmp_path, small_disk / "not" / "there"], 1 << 20)
    assert room.shortage() == ""
    fill(small_disk, 700_000)
    assert room.shortage() == f"the disk of {small_disk}/not/there has 680K free, less than logs.min_free (1M)"
    assert Room([small_disk], 0).shortage() == ""


def test_no_log_is_written_below_min_free_and_all_of_it_when_there_is_room(
    db: redis.Redis, small_disk: Path, caplog: pytest.LogCaptureFixture,
) -> None:
    stream = LogStream(db)
    archive = LogArchive(stream, small_disk / "logs", Room([small_disk / "logs"], 1 << 20))
    caplog.set_level("INFO", logger="rqflow")
    stream.append([a_chunk(b"one ")])
    assert archive.step() == 1
    filling = fill(small_disk, 900_000)
    stream.append([a_chunk(b"two", 4, last=True)])
    assert [archive.step(block_ms=0) for _ in range(3)] == [0, 0, 0]
    assert (small_disk / "logs" / PATH).read_bytes() == b"one "
    held = stream.held()
    assert held is not None
    assert "less than logs.min_free (1M)" in held.reason
    filling.unlink()
    assert archive.step() == 1
    assert (small_disk / "logs" / PATH).read_bytes() == b"one two"
    assert stream.held() is None
    assert [record.action for record in caplog.records] == ["archive_held", "archive_released"], "each is said once"
    assert "Nothing is lost" in caplog.text


def test_the_disk_of_the_database_counts_too(db: redis.Redis, small_disk: Path, tmp_path: Path) -> None:
    stream = LogStream(db)
    archive = LogArchive(stream, tmp_path / "logs", Room([tmp_path / "logs", small_disk], 1 << 20))
    fill(small_disk, 900_000)
    stream.append([a_chunk(b"one")])
    assert archive.step(block_ms=0) == 0
    assert not (tmp_path / "logs").exists()


def test_a_full_disk_is_said_like_one_that_is_nearly_full(db: redis.Redis, tmp_path: Path) -> None:
    stream = LogStream(db)
    archive = LogArchive(stream, tmp_path / "logs")
    stream.append([a_chunk(b"one two")])
    with room_for(3), pytest.raises(OSError, match="File too large"):
        archive.step()
    since = stream.held()
    assert since is not None
    assert "File too large" in since.reason
    with room_for(3), pytest.raises(OSError, match="File too large"):
        archive.step()
    again = stream.held()
    assert again is not None
    assert again.since == since.since
    archive.step()
    assert stream.held() is None


def test_what_a_dead_hub_said_of_its_disk_is_forgotten(db: redis.Redis) -> None:
    stream = LogStream(db)
    stream.hold("no room")
    db.expire("rqflow:logs:held", 0)
    until(lambda: stream.held() is None, what="it to be forgotten")


def test_history_on_a_full_disk_is_complete_when_there_is_room(db: redis.Redis, small_disk: Path) -> None:
    engine = open_engine(f"sqlite:///{small_disk}/rqflow.db")
    schema.upgrade(engine)
    filling = fill(small_disk, 0)
    for step in range(300):
        tell(db, a_task_event("queued", step, task=f"t{step}", reason="x" * 900))
    recorder = a_recorder(db, engine)

    def record_all() -> None:
        while recorder.step(block_ms=0):
            pass

    with pytest.raises(StoreError, match="Make room"):
        record_all()
    assert db.xlen(keys.EVENTS) > 0, "what is not recorded stays"
    filling.unlink()
    record_all()
    assert recorded(engine) == {TaskState.QUEUED: 300}
    engine.dispose()


def test_disk_usage_is_that_of_an_unprivileged_user() -> None:
    """What only root may use is no room."""
    found = os.statvfs("/")
    assert Room([Path("/")], found.f_bavail * found.f_frsize + (64 << 20)).shortage() != ""
