from __future__ import annotations

import random
import resource
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest
import redis

from rqflow.broker import keys
from rqflow.broker.logstream import LogChunk, LogStream
from rqflow.recorder import logtimes
from rqflow.recorder.archive import LogArchive, LogReader
from rqflow.recorder.beginnings import Beginnings
from tests.waiting import until

PATH = "d/t/2026-11-23T00-00-00/1.log"


def a_chunk(data: bytes, offset: int = 0, execution: str = "e1", path: str = PATH, *, last: bool = False) -> LogChunk:
    return LogChunk(execution_id=execution, path=path, offset=offset, data=data, last=last)


def pieces(data: bytes, size: int, execution: str = "e1") -> list[LogChunk]:
    """`data` cut into chunks, the last one marked."""
    return [a_chunk(data[at:at + size], at, execution, last=at + size >= len(data)) for at in range(0, len(data), size)]


@pytest.fixture
def stream(db: redis.Redis) -> LogStream:
    return LogStream(db)


@pytest.fixture
def archive(stream: LogStream, tmp_path: Path) -> LogArchive:
    return LogArchive(stream, tmp_path / "logs")


def content(archive: LogArchive, path: str = PATH) -> bytes:
    return (archive.folder / path).read_bytes()


def mode(archive: LogArchive) -> int:
    return stat.S_IMODE((archive.folder / PATH).stat().st_mode)


def test_log_is_archived_acknowledged_and_trimmed(db: redis.Redis, stream: LogStream, archive: LogArchive) -> None:
    stream.append([a_chunk(b"one\n"), a_chunk(b"two\n", 4)])
    assert archive.step() == 2
    assert archive.step(block_ms=0) == 0
    assert content(archive) == b"one\ntwo\n"
    assert stream.acknowledged(["e1", "e2"]) == {"e1": 8}
    assert db.xlen(keys.LOGS) == 0
    assert archive.archived == 8
    assert mode(archive) == 0o640
    stream.append([a_chunk(b"", 8, last=True)])
    archive.step()
    assert mode(archive) == 0o440
    assert stat.S_IMODE((archive.folder / "d").stat().st_mode) & 0o007 == 0


def test_when_the_parts_of_a_log_came_is_kept_beside_it(db: redis.Redis, stream: LogStream, archive: LogArchive) -> None:
    times = LogReader(archive.folder).times(PurePosixPath(PATH))
    moments = []
    for at, piece in enumerate((b"one\n", b"two\n", b"end\n")):
        moments.append(db.time())
        stream.append([a_chunk(piece, 4 * at, last=at == 2), a_chunk(piece, 4 * at, last=at == 2)])
        until(lambda: db.time()[0] * 1000 + db.time()[1] // 1000 > moments[-1][0] * 1000 + moments[-1][1] // 1000 + 2, what="Redis' clock to go on")
        archive.step()
    found = [times.at(offset) for offset in (0, 3, 4, 8, 11, 100)]
    assert found[0] == found[1] < found[2] < found[3] == found[4] == found[5]
    for moment, (seconds, micros) in zip((found[0], found[2], found[3]), moments, strict=True):
        assert moment is not None
        assert abs(moment.timestamp() - seconds - micros / 1e6) < 1
    assert len((archive.folder / f"{PATH}{logtimes.SUFFIX}").read_text().splitlines()) == 3, "what comes again is not noted again"


def test_a_log_that_came_in_one_piece_has_one_time(stream: LogStream, archive: LogArchive) -> None:
    stream.append([a_chunk(b"one\ntwo\n", last=True)])
    archive.step()
    assert not (archive.folder / f"{PATH}{logtimes.SUFFIX}").exists()
    reader = LogReader(archive.folder)
    written = reader.times(PurePosixPath(PATH)).at(0)
    assert written is not None
    assert abs(written.timestamp() - (archive.folder / PATH).stat().st_mtime) < 0.001
    ended = datetime(2026, 1, 1, tzinfo=UTC)
    assert reader.times(PurePosixPath(PATH), ended).at(5) == ended
    assert reader.times(PurePosixPath("d/t/none/1.log")).at(0) is None


def test_all_bytes_survive(stream: LogStream, archive: LogArchive) -> None:
    data = bytes(range(256)) * 100 + b"\xff\xfe\0\0\x1b[31mred\x1b[0m\r\n" + "é𝄞".encode()[:-1]
    stream.append(pieces(data, 1000))
    archive.step()
    assert content(archive) == data


def test_repeated_and_overlapping_pieces_change_nothing(stream: LogStream, archive: LogArchive) -> None:
    data = b"0123456789" * 10
    stream.append([a_chunk(data[:50]), a_chunk(data[:50]), a_chunk(data[20:70], 20), a_chunk(data[:10]), a_chunk(data[60:], 60, last=True)])
    archive.step()
    stream.append([a_chunk(data[:50]), a_chunk(data[60:], 60, last=True)])
    archive.step()
    assert content(archive) == data
    assert mode(archive) == 0o440


def test_gap_waits_until_it_is_filled(stream: LogStream, archive: LogArchive) -> None:
    stream.append([a_chunk(b"a"), a_chunk(b"ccc", 4), a_chunk(b"d", 7, last=True)])
    archive.step()
    assert content(archive) == b"a"
    assert stream.acknowledged(["e1"]) == {"e1": 1}
    stream.append([a_chunk(b"bbb", 1)])
    archive.step()
    assert content(archive) == b"abbbcccd"
    assert stream.acknowledged(["e1"]) == {"e1": 8}
    assert mode(archive) == 0o440


def test_pieces_in_any_order_and_number_make_the_same_file(stream: LogStream, archive: LogArchive) -> None:
    chance = random.Random(7)
    for n in range(20):
        data = chance.randbytes(500)
        sent = pieces(data, chance.randint(1, 90), f"e{n}")
        sent += chance.sample(sent, len(sent) // 2)
        chance.shuffle(sent)
        path = f"d/t/{n}/1.log"
        stream.append([LogChunk(execution_id=chunk.execution_id, path=path, offset=chunk.offset, data=chunk.data, last=chunk.last) for chunk in sent])
        until(lambda: archive.step(block_ms=0) == 0)
        assert content(archive, path) == data


def test_restarted_archive_goes_on_where_the_file_ends(db: redis.Redis, stream: LogStream, archive: LogArchive) -> None:
    stream.append([a_chunk(b"one ")])
    archive.step()
    second = LogArchive(stream, archive.folder)
    stream.append([a_chunk(b"one "), a_chunk(b"two ", 4)])
    second.step()
    db.flushall()
    third = LogArchive(stream, archive.folder)
    stream.append([a_chunk(b"one two th"), a_chunk(b"ree", 10)])
    third.step()
    assert content(archive) == b"one two three"


def test_archive_that_died_before_its_answer_does_it_again(db: redis.Redis, stream: LogStream, archive: LogArchive) -> None:
    stream.append(pieces(b"all of it", 2))
    archive.step()
    db.delete(f"{keys.LOGS_ACKED}:e1")
    stream.append(pieces(b"all of it", 2))
    assert LogArchive(stream, archive.folder).step() == 5
    assert content(archive) == b"all of it"
    assert stream.acknowledged(["e1"]) == {"e1": 9}


def test_whole_log_that_comes_again_after_redis_was_set_back_is_not_doubled(db: redis.Redis, stream: LogStream, archive: LogArchive) -> None:
    sent = [a_chunk(b"all of it", last=True)]
    stream.append(sent)
    archive.step()
    db.delete(f"{keys.LOGS_ACKED}:e1")
    stream.append(sent)
    archive.step()
    assert content(archive) == b"all of it"


def test_archive_whose_link_broke_doubts_what_it_reads_next(db: redis.Redis, stream: LogStream, archive: LogArchive, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, retry=None) as connection:
        other = LogArchive(LogStream(connection), archive.folder)
        assert other.step(block_ms=0) == 0
        sent = [a_chunk(b"all of it", last=True)]
        stream.append(sent)
        archive.step()
        # As a Redis does that goes down, and comes back with the data of some seconds ago.
        db.delete(f"{keys.LOGS_ACKED}:e1")
        stop = threading.Event()
        thread = threading.Thread(target=other.run, args=(stop,))
        thread.start()
        until(lambda: [one for one in db.client_list() if one["cmd"] == "xread"], what="the archive to wait")
        db.client_kill_filter(_type="normal", skipme=True)
        stream.append(sent)
        until(lambda: db.xlen(keys.LOGS) == 0, what="it to be read")
        stop.set()
        thread.join()
    assert content(archive) == b"all of it"


def test_two_archives_of_one_folder_do_no_harm(stream: LogStream, archive: LogArchive, redis_url: str) -> None:
    stop = threading.Event()
    data = random.Random(3).randbytes(300_000)

    def archived() -> bool:
        """The slower archive may acknowledge less, after the other one did: the sender sends what seems to lack, as the worker does."""
        done = stream.acknowledged(["e1"]).get("e1", 0)
        stream.append([a_chunk(data[done:], done, last=True)])
        return done == len(data)

    with redis.Redis.from_url(redis_url) as one, redis.Redis.from_url(redis_url) as two:
        threads = [threading.Thread(target=LogArchive(LogStream(link), archive.folder).run, args=(stop,)) for link in (one, two)]
        for thread in threads:
            thread.start()
        try:
            for chunk in pieces(data, 500):
                stream.append([chunk])
            until(archived, what="the log to be archived")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert content(archive) == data


def test_second_execution_of_a_try_is_appended(stream: LogStream, archive: LogArchive) -> None:
    stream.append([a_chunk(b"poke\nno\n", last=True)])
    archive.step()
    stream.append([a_chunk(b"poke\n", execution="e2")])
    archive.step()
    assert mode(archive) == 0o640
    stream.append([a_chunk(b"no\n", 5, "e2", last=True), a_chunk(b"poke\n", execution="e3")])
    archive.step()
    assert content(archive) == b"poke\nno\n" * 2 + b"poke\n"
    assert stream.acknowledged(["e2", "e3"]) == {"e2": 8, "e3": 5}


def test_restarted_archive_knows_where_the_second_execution_began(stream: LogStream, archive: LogArchive) -> None:
    stream.append([a_chunk(b"poke\nno\n", last=True)])
    archive.step()
    second = LogArchive(stream, archive.folder)
    stream.append([a_chunk(b"poke\nyes\n", execution="e2"), a_chunk(b"done\n", 9, "e2", last=True)])
    second.step()
    assert content(archive) == b"poke\nno\npoke\nyes\ndone\n"
    assert stream.acknowledged(["e2"]) == {"e2": 14}
    stream.append([a_chunk(b"poke\nyes\n", execution="e2")])
    LogArchive(stream, archive.folder).step()
    assert content(archive) == b"poke\nno\npoke\nyes\ndone\n"
    assert mode(archive) == 0o440


def test_a_wipe_and_a_new_leader_in_the_middle_of_a_second_execution_double_and_lose_nothing(
    db: redis.Redis, stream: LogStream, archive: LogArchive,
) -> None:
    """Both executions begin with the same words, and all that was under way when Redis was emptied is sent again."""
    first, second, third = [b"poke\nno\n" * 10, b"poke\nno\n" * 20, b"poke\nno\n"]

    def send(data: bytes, execution: str, upto: int | None = None, after: int = 0) -> None:
        found = [chunk for chunk in pieces(data, 7, execution) if chunk.offset >= after and (upto is None or chunk.offset < upto)]
        stream.append(found)

    def wipe() -> LogArchive:
        db.flushall()
        return LogArchive(stream, archive.folder)

    send(first, "e1", 40)
    archive.step()
    new = wipe()
    send(first, "e1")
    new.step()
    assert content(archive) == first
    new = wipe()
    send(first, "e1")
    new.step()
    assert content(archive) == first, "a whole log that comes again"
    # Its first pieces were lost with Redis: the later ones wait for them.
    send(second, "e2", after=70)
    new.step()
    assert content(archive) == first
    assert stream.acknowledged(["e2"]) == {"e2": 0}
    send(second, "e2", 90)
    new.step()
    new = wipe()
    send(second, "e2", after=70)
    new.step()
    send(first, "e1")
    send(second, "e2")
    new.step()
    new = wipe()
    send(third, "e3")
    send(second, "e2")
    until(lambda: new.step(block_ms=0) == 0)
    assert content(archive) == first + second + third
    assert stream.acknowledged(["e2"])["e2"] >= len(second)
    assert stream.acknowledged(["e3"]) == {"e3": len(third)}
    assert mode(archive) == 0o440


def test_beginnings_outlive_the_file_that_is_full(tmp_path: Path) -> None:
    some = Beginnings(tmp_path, full=1000, most=4)
    for number in range(1000):
        assert some.of("long", number) == 0, "one that is written all the time"
        assert some.of(f"e{number}", number) == number
    some.close()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 2 * 1050
    other = Beginnings(tmp_path)
    assert [other.of(name, 2000) for name in ("long", "e999", "e990")] == [0, 999, 990]
    assert other.of("new", 2000) == 2000


@pytest.mark.parametrize("path", ["../outside.log", "/tmp/outside.log", "a/../../outside.log", "a/x\0.log", "a/b.txt"])
def test_path_out_of_the_archive_is_dropped_and_acknowledged(stream: LogStream, archive: LogArchive, tmp_path: Path, path: str) -> None:
    stream.append([a_chunk(b"evil", path=path, execution="bad"), a_chunk(b"good")])
    archive.step()
    assert content(archive) == b"good"
    assert stream.acknowledged(["bad", "e1"]) == {"bad": 4, "e1": 4}
    assert [file.name for file in tmp_path.rglob("*") if file.is_file() and file.suffix == ".log"] == ["1.log"]


def test_log_is_not_written_through_a_link(stream: LogStream, archive: LogArchive, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (archive.folder / PATH).parent.mkdir(parents=True)
    (archive.folder / PATH).symlink_to(tmp_path / "victim")
    stream.append([a_chunk(b"evil"), a_chunk(b"good", path="d/t/x/2.log", execution="e2")])
    archive.step()
    assert (tmp_path / "victim").read_text() == "precious"
    assert content(archive, "d/t/x/2.log") == b"good"


def test_entry_that_cannot_be_read_is_dropped(db: redis.Redis, stream: LogStream, archive: LogArchive) -> None:
    db.xadd(keys.LOGS, {"what": "is this"})
    stream.append([a_chunk(b"good")])
    archive.step()
    assert content(archive) == b"good"
    assert db.xlen(keys.LOGS) == 0


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let files of this process grow to `size` bytes only, as a quota does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_loses_nothing(db: redis.Redis, stream: LogStream, archive: LogArchive) -> None:
    sent = [a_chunk(b"one " * 20), a_chunk(b"two" * 20, 80)]
    stream.append(sent)
    for room, fits in ((10, b""), (120, (b"one " * 20 + b"two" * 20)[:120])):
        with room_for(room), pytest.raises(OSError, match="File too large"):
            archive.step()
        assert content(archive) == fits
    assert [chunk._replace(at=0) for _, chunk in stream.read(block_ms=0)] == sent
    archive.step()
    assert content(archive) == b"one " * 20 + b"two" * 20
    assert db.xlen(keys.LOGS) == 0
    stream.append([a_chunk(b"more", execution="e2")])
    LogArchive(stream, archive.folder).step()
    assert content(archive) == b"one " * 20 + b"two" * 20 + b"more"


def test_log_in_one_piece_that_a_full_disk_cut_is_completed(stream: LogStream, archive: LogArchive) -> None:
    stream.append([a_chunk(b"all of it" * 20, last=True)])
    with room_for(60), pytest.raises(OSError, match="File too large"):
        archive.step()
    assert (content(archive), mode(archive)) == ((b"all of it" * 20)[:60], 0o640)
    archive.step()
    assert (content(archive), mode(archive)) == (b"all of it" * 20, 0o440)


def test_logs_in_one_piece_need_no_folder_and_follow_what_is_there(stream: LogStream, archive: LogArchive) -> None:
    stream.append([a_chunk(b"first\n", last=True)])
    archive.step()
    stream.append([a_chunk(b"second\n", execution="e2", last=True), a_chunk(b"", execution="e3", path="d/u/1.log", last=True)])
    archive.step()
    assert (content(archive), mode(archive)) == (b"first\nsecond\n", 0o440)
    assert content(archive, "d/u/1.log") == b""
    assert stream.acknowledged(["e1", "e2", "e3"]) == {"e1": 6, "e2": 7, "e3": 0}


def test_many_small_pieces_share_an_entry_and_large_ones_do_not(db: redis.Redis, stream: LogStream) -> None:
    small = [a_chunk(b"x" * (n % 7), execution=f"e{n}", path=f"d/t/{n}.log", last=n % 2 == 0) for n in range(300)]
    stream.append(small)
    assert db.xlen(keys.LOGS) == 1
    large = [a_chunk(bytes(100 << 10), n * (100 << 10)) for n in range(3)]
    stream.append(large)
    assert db.xlen(keys.LOGS) == 4
    assert [chunk._replace(at=0) for _, chunk in stream.read(block_ms=0)] == small + large


@pytest.mark.parametrize("entry", [
    {"m": "[]", "d": ""}, {"m": "{", "d": ""}, {"m": '[["e1", "d/t/1.log", 0, 9, 1]]', "d": "short"}, {"m": '[["e1", "d/t/1.log"]]', "d": ""}, {"d": "x"},
    {"m": "7", "d": ""},
])
def test_entries_that_nobody_of_ours_wrote_are_dropped(db: redis.Redis, stream: LogStream, entry: dict[str, str]) -> None:
    db.xadd(keys.LOGS, entry)
    assert stream.read(block_ms=0) == []
    assert db.xlen(keys.LOGS) == 0


def test_redis_forgets_how_far_a_log_is_once_its_sender_knows(db: redis.Redis, stream: LogStream, archive: LogArchive) -> None:
    left = LogChunk(execution_id="e3", path="d/t/z/1.log", offset=0, data=b"z", last=True, leaves=True)
    stream.append([a_chunk(b"x"), a_chunk(b"y", execution="e2", path="d/t/y/1.log", last=True), left])
    archive.step()

    def remembered() -> list[bool]:
        """For more than a week, which is as long as a worker keeps a log; else for a few minutes."""
        return [db.ttl(f"{keys.LOGS_ACKED}:{name}") > 7 * 86_400 for name in ("e1", "e2", "e3")]

    assert remembered() == [True, True, False]
    stream.settle(["e2"])
    assert remembered() == [True, False, False]
    assert all(0 < db.ttl(f"{keys.LOGS_ACKED}:{name}") <= 300 for name in ("e2", "e3"))
    stream.append([a_chunk(b"y", execution="e2", path="d/t/y/1.log", last=True)])
    archive.step()
    assert remembered() == [True, False, False], "a piece that comes once more puts nothing off"


def test_log_is_whole_when_its_last_piece_is_archived_not_when_its_last_byte_is(stream: LogStream, archive: LogArchive) -> None:
    stream.append([a_chunk(b"all of it\n")])
    archive.step()
    assert stream.archived(["e1"]) == {"e1": (10, False)}
    stream.append([a_chunk(b"", 10, last=True), a_chunk(b"", execution="e2", last=True)])
    archive.step()
    assert stream.archived(["e1", "e2"]) == {"e1": (10, True), "e2": (0, True)}
    stream.append([a_chunk(b"all of it\n")])
    archive.step()
    assert stream.archived(["e1"]) == {"e1": (10, True)}, "a piece that comes once more takes nothing back"


def test_hundred_megabytes_stream_through_without_growth(db: redis.Redis, stream: LogStream, archive: LogArchive) -> None:
    line = random.Random(1).randbytes(1 << 16)
    total, sent, most = 100 << 20, 0, 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while sent < total:
        while sent < total and sent - stream.acknowledged(["e1"]).get("e1", 0) < 1 << 20:
            stream.append([a_chunk(line, sent, last=sent + len(line) >= total)])
            sent += len(line)
        most = max(most, db.memory_usage(keys.LOGS) or 0)
        archive.step(block_ms=0)
    assert (archive.folder / PATH).stat().st_size == total
    assert most < 2 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10
    with (archive.folder / PATH).open("rb") as file:
        assert all(piece == line for piece in iter(lambda: file.read(len(line)), b""))


# -- reading

@pytest.fixture
def reader(archive: LogArchive) -> LogReader:
    return LogReader(archive.folder)


def test_reader_reads_parts(stream: LogStream, archive: LogArchive, reader: LogReader) -> None:
    path = PurePosixPath(PATH)
    assert (reader.read(path), reader.size(path), reader.is_whole(path)) == (b"", 0, False)
    stream.append([a_chunk(b"0123456789", last=True)])
    archive.step()
    assert (reader.read(path, 2, 3), reader.read(path, -4), reader.read(path, -99), reader.read(path, 99)) == (b"234", b"6789", b"0123456789", b"")
    assert (reader.size(path), reader.is_whole(path)) == (10, True)


def follow(reader: LogReader, is_finished: list[bool], patience: float = 10.0) -> Iterator[bytes]:
    return reader.follow(PurePosixPath(PATH), lambda: is_finished[0], patience=patience)


def test_follow_yields_what_comes_until_the_log_is_whole(stream: LogStream, archive: LogArchive, reader: LogReader) -> None:
    got: list[bytes] = []
    finished = [False]
    thread = threading.Thread(target=lambda: got.extend(follow(reader, finished)))
    thread.start()
    stream.append([a_chunk(b"one ")])
    archive.step()
    until(lambda: got == [b"one "], what="the first bytes")
    finished[0] = True
    stream.append([a_chunk(b"two ", 4)])
    archive.step()
    until(lambda: b"".join(got) == b"one two ", what="bytes that come after the end of the try")
    assert thread.is_alive()
    stream.append([a_chunk(b"three", 8, last=True)])
    archive.step()
    thread.join()
    assert b"".join(got) == b"one two three"


def test_follow_does_not_wait_for_ever_for_a_log_that_was_lost(stream: LogStream, archive: LogArchive, reader: LogReader) -> None:
    stream.append([a_chunk(b"half")])
    archive.step()
    assert list(follow(reader, [True], patience=0.2)) == [b"half"]
