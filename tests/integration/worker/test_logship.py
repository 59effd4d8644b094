"""Logs on their way to the archive, on a real Redis with a real archive."""

from __future__ import annotations

import os
import resource
import stat
import threading
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from rqflow import settings as configuration
from rqflow.broker import keys
from rqflow.broker.logstream import REMEMBER_KNOWN, Archived, LogStream
from rqflow.recorder.archive import WHOLE, LogArchive
from rqflow.settings import Settings
from rqflow.values import Size
from rqflow.worker.logship import LogShipper, Parcel
from tests.waiting import until

Ship = Callable[..., LogShipper]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return configuration.load(home=tmp_path, environ={})


@pytest.fixture
def ship(db: redis.Redis, settings: Settings) -> Iterator[Ship]:
    """Make shippers, which are stopped after the test."""
    made: list[LogShipper] = []

    def make(stream: LogStream | None = None, **changes: Any) -> LogShipper:
        logs = {name: value for name, value in changes.items() if name.startswith("stream_")}
        worker = {name: value for name, value in changes.items() if name not in logs}
        found = replace(settings, logs=replace(settings.logs, **logs), worker=replace(settings.worker, **worker))
        shipper = LogShipper(stream or LogStream(db), found, lambda: None)
        shipper.start()
        made.append(shipper)
        return shipper

    yield make
    for shipper in made:
        shipper.stop()


@pytest.fixture
def archive(db: redis.Redis, tmp_path: Path) -> Iterator[LogArchive]:
    """An archive that runs."""
    found = LogArchive(LogStream(db), tmp_path / "logs")
    stop = threading.Event()
    thread = threading.Thread(target=found.run, args=(stop,))
    thread.start()
    yield found
    stop.set()
    thread.join()


def arrives(shipper: LogShipper, execution: str) -> None:
    arrived: list[str] = []
    until(lambda: arrived.extend(shipper.archived()) or execution in arrived, what="the log to arrive")


def send(shipper: LogShipper, file: Path, path: str = "d/t/1.log", **fields: bool) -> str:
    execution = uuid.uuid4().hex
    shipper.watch(execution, str(file), path, **fields)
    shipper.finish(execution, file.stat().st_size)
    return execution


def test_any_bytes_arrive_as_they_are(ship: Ship, archive: LogArchive, tmp_path: Path) -> None:
    data = os.urandom(300_000) + b"\0\x1b[31m\xff\r\n" + b"x" * 200_000
    (tmp_path / "log").write_bytes(data)
    shipper = ship()
    arrives(shipper, send(shipper, tmp_path / "log"))
    assert (archive.folder / "d/t/1.log").read_bytes() == data


def test_running_log_is_sent_before_its_end(ship: Ship, archive: LogArchive, tmp_path: Path) -> None:
    """Reliability 51, 55."""
    file, target = tmp_path / "log", archive.folder / "d/t/1.log"
    shipper = ship()
    shipper.watch("e", str(file), "d/t/1.log")
    file.write_bytes(b"first\n")
    until(lambda: target.exists() and target.read_bytes() == b"first\n", what="the first line to arrive")
    with file.open("ab") as stream:
        stream.write(b"second\n")
    until(lambda: target.read_bytes() == b"first\nsecond\n", what="the second line to arrive")
    shipper.finish("e", file.stat().st_size)
    arrives(shipper, "e")


def test_log_whose_every_byte_came_before_its_end_is_marked_as_whole_also_after_a_broken_link(ship: Ship, archive: LogArchive, tmp_path: Path) -> None:
    file, target = tmp_path / "log", archive.folder / "d/t/1.log"
    file.write_bytes(b"all of it\n")
    shipper = ship()
    shipper.watch("e", str(file), "d/t/1.log")
    until(lambda: target.exists() and target.read_bytes() == b"all of it\n", what="the log to arrive")
    until(lambda: shipper._stream.acknowledged(["e"]) == {"e": 10}, what="Redis to know")
    shipper.finish("e", 10)
    shipper.doubt()
    arrives(shipper, "e")
    until(lambda: stat.S_IMODE(target.stat().st_mode) == WHOLE, what="it to be whole")


def test_what_is_written_after_the_end_is_not_sent(ship: Ship, archive: LogArchive, tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"whole\n")
    shipper = ship()
    shipper.watch("e", str(file), "d/t/1.log")
    shipper.finish("e", 6)
    with file.open("ab") as stream:
        stream.write(b"a daemon that was left\n")
    arrives(shipper, "e")
    assert (archive.folder / "d/t/1.log").read_bytes() == b"whole\n"


def test_empty_log_arrives_too(ship: Ship, archive: LogArchive, tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    shipper = ship()
    arrives(shipper, send(shipper, tmp_path / "log"))


def test_empty_log_has_arrived_only_when_the_archive_has_its_end(db: redis.Redis, ship: Ship, tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    asked = []

    class Stream(LogStream):
        def archived(self, execution_ids: Collection[str]) -> dict[str, Archived]:
            asked.append(list(execution_ids))
            return super().archived(execution_ids)

    shipper = ship(Stream(db))
    name = send(shipper, tmp_path / "log")
    until(lambda: asked.count([name]) > 2, what="it to be asked for")
    assert shipper.archived() == []
    LogArchive(LogStream(db), tmp_path / "logs").step()
    arrives(shipper, name)
    until(lambda: 0 < db.ttl(f"{keys.LOGS_ACKED}:{name}") <= REMEMBER_KNOWN, what="Redis to forget it soon")


def test_log_that_begins_and_ends_while_others_are_taken_in_is_kept(db: redis.Redis, settings: Settings, archive: LogArchive, tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"short\n")

    class Inbox(deque[Parcel]):
        def __bool__(self) -> bool:
            if not len(self) and not sent:
                sent.append(send(shipper, file))
                return False
            return len(self) > 0

    sent: list[str] = []
    shipper = LogShipper(LogStream(db), settings, lambda: None)
    shipper._inbox = Inbox()
    shipper.start()
    until(lambda: sent, what="the log to end")
    arrives(shipper, sent[0])
    shipper.stop()


def test_log_of_100_mb_grows_neither_worker_nor_redis(ship: Ship, archive: LogArchive, db: redis.Redis, tmp_path: Path) -> None:
    """Reliability 54."""
    file = tmp_path / "log"
    line = b"0123456789abcde\n" * 65_536
    with file.open("wb") as stream:
        for _ in range(100):
            stream.write(line)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    shipper = ship()
    execution = send(shipper, file)
    seen: list[int] = []
    arrived: list[str] = []

    def look() -> bool:
        seen.append(int(db.info("memory")["used_memory"]))
        arrived.extend(shipper.archived())
        return execution in arrived

    until(look, what="the log to arrive")
    assert (archive.folder / "d/t/1.log").stat().st_size == 100 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 << 10
    assert max(seen) < 20 << 20


def test_head_and_tail_of_a_log_that_is_too_long(ship: Ship, archive: LogArchive, tmp_path: Path) -> None:
    """Reliability 56, the cap."""
    file = tmp_path / "log"
    file.write_bytes(b"h" * 500_000 + b"m" * 1_000_000 + b"t" * 500_000)
    shipper = ship(max_log_size=Size(1_000_000))
    arrives(shipper, send(shipper, file))
    mark = b"\nrqflow: 1000000 bytes of this log are left out here (worker.max_log_size)\n"
    assert (archive.folder / "d/t/1.log").read_bytes() == b"h" * 500_000 + mark + b"t" * 500_000


def test_no_more_than_the_windows_waits_for_an_archive(ship: Ship, db: redis.Redis, tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"x" * 3_000_000)
    shipper = ship(stream_per_task=Size(200_000), stream_per_worker=Size(500_000))
    for number in range(5):
        send(shipper, file, f"d/t{number}/1.log")

    def waiting() -> list[int]:
        chunks = [chunk for _, chunk in LogStream(db).read(count=10_000, block_ms=0)]
        return sorted(sum(len(c.data) for c in chunks if c.execution_id == name) for name in {c.execution_id for c in chunks})

    until(lambda: sum(waiting()) == 500_000, what="the window to be full")
    assert waiting() == [100_000, 200_000, 200_000]
    assert not shipper.drain(0.2)


def test_logs_go_on_when_the_archive_is_back(ship: Ship, db: redis.Redis, tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(os.urandom(1_000_000))
    shipper = ship(stream_per_task=Size(100_000))
    execution = send(shipper, file)
    until(lambda: db.xlen("rqflow:logs"), what="the first piece")
    archive = LogArchive(LogStream(db), tmp_path / "logs")
    arrived: list[str] = []
    until(lambda: archive.step(block_ms=10) is None or arrived.extend(shipper.archived()) or execution in arrived, what="the log to arrive")
    assert (tmp_path / "logs/d/t/1.log").read_bytes() == file.read_bytes()


def test_log_that_no_archive_takes_is_given_up_after_its_time(ship: Ship, tmp_path: Path) -> None:
    old, fresh = tmp_path / "old", tmp_path / "fresh"
    for file in (old, fresh):
        file.write_bytes(b"x" * 1000)
    os.utime(old, (0, 0))
    shipper = ship(log_retention=timedelta(seconds=30))
    patient = ship(log_retention=timedelta(days=9999 * 30))
    hasty = ship(log_retention=timedelta(seconds=0.2))
    left = [send(patient, old, "d/p/1.log"), send(shipper, fresh, "d/f/1.log"), send(shipper, old, "d/s/1.log")]
    arrives(hasty, send(hasty, old, "d/h/1.log"))
    arrives(hasty, send(hasty, fresh, "d/g/1.log"))
    assert not {*left} & {*shipper.archived(), *patient.archived()}, "a clock that is off is no reason to lose a log at once"


def test_next_worker_goes_on_where_the_archive_is(ship: Ship, archive: LogArchive, tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"a" * 1000)
    first = ship()
    first.watch("e", str(file), "d/t/1.log")
    target = archive.folder / "d/t/1.log"
    until(lambda: target.exists() and target.stat().st_size == 1000, what="the first half")
    first.stop()
    with file.open("ab") as stream:
        stream.write(b"b" * 1000)
    second = ship()
    second.watch("e", str(file), "d/t/1.log", begun=True)
    second.finish("e", 2000)
    arrives(second, "e")
    assert target.read_bytes() == b"a" * 1000 + b"b" * 1000


def test_many_small_logs_share_few_round_trips(ship: Ship, archive: LogArchive, db: redis.Redis, tmp_path: Path) -> None:
    trips = []

    class Counting(LogStream):
        def append(self, chunks: object) -> None:
            trips.append(1)
            super().append(chunks)  # type: ignore[arg-type]

    shipper = ship(Counting(db))
    wanted = set()
    for number in range(300):
        file = tmp_path / f"log{number}"
        file.write_bytes(b"rqflow: exit code 0\n")
        wanted.add(send(shipper, file, f"d/t{number}/1.log"))
    arrived: set[str] = set()
    until(lambda: arrived.update(shipper.archived()) or arrived == wanted, what="all logs to arrive")
    assert len(trips) < 30


def test_broken_link_loses_nothing(ship: Ship, archive: LogArchive, db: redis.Redis, tmp_path: Path) -> None:
    """Every third send does not get through, every other third's answer is lost."""
    calls = []

    class Flaky(LogStream):
        def append(self, chunks: object) -> None:
            calls.append(1)
            if len(calls) % 3 == 1:
                raise redis.exceptions.ConnectionError("cut before")
            super().append(chunks)  # type: ignore[arg-type]
            if len(calls) % 3 == 2:
                raise redis.exceptions.TimeoutError("cut after")

    file = tmp_path / "log"
    file.write_bytes(os.urandom(100_000))
    shipper = ship(Flaky(db), stream_per_task=Size(20_000))
    arrives(shipper, send(shipper, file))
    assert (archive.folder / "d/t/1.log").read_bytes() == file.read_bytes()


def test_log_that_redis_lost_before_it_was_archived_is_sent_again(db: redis.Redis, ship: Ship, tmp_path: Path) -> None:
    """A wipe breaks no link: the worker learns of it by the new epoch."""
    (tmp_path / "log").write_bytes(b"all of it\n")
    shipper, stream = ship(), LogStream(db)
    execution = send(shipper, tmp_path / "log")
    until(lambda: stream.read(block_ms=0), what="the log to be sent")
    db.flushall()
    shipper.doubt()
    archive = LogArchive(stream, tmp_path / "logs")
    arrived: list[str] = []
    until(lambda: archive.step(block_ms=10) is None or arrived.extend(shipper.archived()) or execution in arrived, what="the log to arrive")
    assert (tmp_path / "logs" / "d/t/1.log").read_bytes() == b"all of it\n"
