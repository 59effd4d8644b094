"""The modules that handle files of a try: outputs, logs, the work_dir."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rqflow.exceptions import ConfigError, Conflict
from rqflow.worker import logfile, outputs, program
from rqflow.worker.logship import Plan
from rqflow.worker.workdir import CWD, Former, WorkDir
from tests.unit.builders import a_version
from tests.waiting import until

LOG = "log"


def test_outputs_are_moved_and_marked(tmp_path: Path) -> None:
    one, two, absent = (str(tmp_path / name) for name in ("one", "two", "absent"))
    Path(one).write_text("1")
    Path(two).mkdir()
    assert outputs.missing([one, two, absent]) == [absent]
    assert not outputs.exist([one, absent])
    assert outputs.move_aside([one, absent], 2) == [f"{one}.before-2"]
    assert outputs.mark_partial([one, two], 2) == [f"{two}.partial-2"]
    assert Path(f"{two}.partial-2").is_dir()


def test_what_was_moved_aside_is_kept_when_the_next_is(tmp_path: Path) -> None:
    for text in ("first", "second", "third"):
        (tmp_path / "f").write_text(text)
        outputs.move_aside([str(tmp_path / "f")], 1)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"f.before-1": "first", "f.before-1-1": "second", "f.before-1-2": "third"}


def test_no_outputs_never_exist() -> None:
    assert not outputs.exist([])


def test_marked_twice_keeps_the_last_file_and_both_folders(tmp_path: Path) -> None:
    for text in ("first", "second"):
        (tmp_path / "f").write_text(text)
        (tmp_path / "d").mkdir()
        outputs.mark_partial([str(tmp_path / "f"), str(tmp_path / "d")], 1)
    assert (tmp_path / "f.partial-1").read_text() == "second"
    assert {path.name for path in tmp_path.iterdir()} == {"f.partial-1", "d.partial-1", "d.partial-1-1"}


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", ""), (b"one", "one"), (b"one\n", "one"), (b"one\ntwo\n", "two"), (b"one\n\n", ""), (b"a\r\n", "a"), (b"ok\n\xff\xfe\n", "\ufffd\ufffd"),
        (b"x" * 100_000, "x" * (64 << 10)),
    ],
)
def test_last_line(tmp_path: Path, data: bytes, line: str) -> None:
    (tmp_path / LOG).write_bytes(data)
    assert logfile.last_line(tmp_path / LOG) == line


def test_last_line_before_our_own(tmp_path: Path) -> None:
    (tmp_path / LOG).write_bytes(b"one\ntwo\n")
    logfile.add_lines(tmp_path / LOG, ["a", "b"])
    assert logfile.last_line(tmp_path / LOG, closed=True) == "two"
    assert logfile.last_line(tmp_path / LOG) == "rqflow: b"


@pytest.mark.parametrize(("before", "after"), [(b"", b"rqflow: x\n"), (b"a\n", b"a\nrqflow: x\n"), (b"a", b"a\nrqflow: x\n")])
def test_our_lines_stand_on_their_own(tmp_path: Path, before: bytes, after: bytes) -> None:
    path = tmp_path / LOG
    path.write_bytes(before)
    assert logfile.add_lines(path, ["x"]) == len(after)
    assert path.read_bytes() == after


def test_lines_of_several_lines_are_each_marked(tmp_path: Path) -> None:
    logfile.add_lines(tmp_path / LOG, ["a\nb"])
    assert (tmp_path / LOG).read_text() == "rqflow: a\nrqflow: b\n"


@pytest.mark.parametrize("size", [0, 1, 10, 19, 20, 21, 200])
def test_plan_gives_each_byte_once_whatever_the_room(tmp_path: Path, size: int) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(range(200))[:size])
    plan = Plan(size, 10)
    for room in (1, 3, 1000):
        data = b""
        while piece := plan.read(str(path), len(data), room):
            assert len(piece) <= room
            data += piece
        assert len(data) == plan.length
        if size <= 20:
            assert data == path.read_bytes()
        else:
            assert (data[:10], data[-10:]) == (path.read_bytes()[:10], path.read_bytes()[-10:])
            assert f"{size - 20} bytes of this log are left out".encode() in data


def test_plan_of_a_growing_log_stops_at_half(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 100)
    plan = Plan(None, 10)
    assert plan.read(str(path), 0, 1000) == b"x" * 10
    assert plan.read(str(path), 10, 1000) == b""


def test_folder_of_a_try_is_used_again_when_it_is_clean(tmp_path: Path) -> None:
    work_dir = WorkDir(tmp_path / "w")
    work_dir.hold()
    first = work_dir.take()
    work_dir.give_back(first, reuse=True)
    assert work_dir.take() == first
    assert list(first.iterdir()) == [first / CWD]


@pytest.mark.parametrize("leave", [
    lambda cwd: cwd.chmod(0o755), lambda cwd: (cwd / "left").touch(), lambda cwd: cwd.rmdir(), lambda cwd: cwd.rename(cwd.with_name("moved")),
])
def test_folder_of_a_try_is_removed_when_it_is_not_as_it_was(tmp_path: Path, leave: Callable[[Path], None]) -> None:
    work_dir = WorkDir(tmp_path / "w")
    work_dir.hold()
    first, second = work_dir.take(), work_dir.take()
    leave(first / CWD)
    work_dir.give_back(first, reuse=True)
    work_dir.give_back(second, reuse=False)
    assert work_dir.take() not in {first, second}
    until(lambda: not first.exists() and not second.exists(), what="the folders to go")
    work_dir.release()


def test_log_is_used_again_when_nobody_writes_into_it_any_more(tmp_path: Path) -> None:
    work_dir = WorkDir(tmp_path / "w")
    work_dir.hold()
    first, second, third = (Path(work_dir.take_log()) for _ in range(3))
    first.write_text("done\n")
    with second.open("a") as left_behind:
        work_dir.give_back_log(str(first))
        work_dir.give_back_log(str(second))
        work_dir.give_back_log(str(third))
        left_behind.write("late")
    assert not second.exists()
    assert work_dir.take_log() == str(first)
    assert first.read_bytes() == b""
    assert Path(work_dir.take_log()) not in {first, second, third}
    work_dir.release()


def test_work_dir_is_held_by_one(tmp_path: Path) -> None:
    first, second = WorkDir(tmp_path / "w"), WorkDir(tmp_path / "w")
    first.hold()
    with pytest.raises(Conflict, match="another worker uses the work_dir"):
        second.hold()
    first.release()
    second.hold()
    second.release()
    assert (tmp_path / "w").stat().st_mode & 0o077 == 0


def test_work_dir_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be used"):
        WorkDir(tmp_path / "file" / "w").hold()


def test_sweep_keeps_what_is_used(tmp_path: Path) -> None:
    work_dir = WorkDir(tmp_path / "w")
    work_dir.hold()
    kept, gone = work_dir.take(), work_dir.take()
    logs = [Path(work_dir.take_log()) for _ in range(2)]
    for log in logs:
        log.touch()
    work_dir.sweep([kept], [str(logs[0])])
    assert list(work_dir.logs.iterdir()) == logs[:1]
    assert kept.exists()
    assert not gone.exists()
    assert work_dir.take().name == "2"
    work_dir.release()


def test_what_cannot_be_removed_is_in_nobodys_way(tmp_path: Path) -> None:
    """A folder with files of another user; here a file, which is not removed as a folder."""
    work_dir = WorkDir(tmp_path / "w")
    work_dir.hold()
    (work_dir.tries / "1").touch()
    work_dir.sweep([], [])
    assert work_dir.take().name == "2"
    work_dir.release()


def test_sources_are_unpacked_once(tmp_path: Path) -> None:
    work_dir = WorkDir(tmp_path / "w")
    work_dir.hold()
    version = a_version(sources={"d.py": "x = 'ä'\n", "sub/b.bin": {"base64": "AAH/"}})
    folder = work_dir.unpack(version)
    assert (folder / "sources" / "d.py").read_text() == "x = 'ä'\n"
    assert (folder / "sources" / "sub" / "b.bin").read_bytes() == b"\0\x01\xff"
    (folder / "mark").touch()
    assert (work_dir.unpack(version) / "mark").exists()
    with pytest.raises(ConfigError, match="lies outside"):
        work_dir.unpack(a_version(sources={"../evil": "x"}))
    work_dir.release()


def test_versions_go_when_no_try_uses_them_while_others_are_in_use(tmp_path: Path) -> None:
    work_dir = WorkDir(tmp_path)
    work_dir.hold()
    used, unused, fresh = (a_version(sources={"d.py": name}) for name in ("used", "unused", "fresh"))
    held = work_dir.take()
    folders = [work_dir.unpack(used, held), work_dir.unpack(unused), work_dir.unpack(fresh)]
    for folder in folders[:2]:
        os.utime(folder, (0, 0))
    work_dir.sweep_versions()
    until(lambda: {path.name for path in work_dir.versions.iterdir()} == {used.sha, fresh.sha}, what="the unused one to go")
    work_dir.give_back(held, reuse=False)
    until(lambda: not held.exists(), what="its folder to go")
    os.utime(folders[0], (0, 0))
    work_dir.sweep_versions()
    until(lambda: [path.name for path in work_dir.versions.iterdir()] == [fresh.sha], what="the other to go")
    work_dir.release()


def test_names_of_the_workers_before_are_known_until_they_were_followed(tmp_path: Path) -> None:
    work_dir = WorkDir(tmp_path)
    assert work_dir.add_name("one", "boot") == []
    assert work_dir.add_name("two", "boot") == [Former("one", is_of_another_boot=False)]
    work_dir.forget_name("one")
    assert work_dir.add_name("three", "next boot") == [Former("two", is_of_another_boot=True)]


def test_copy_of_the_program_is_kept_once_and_old_ones_go_when_nothing_is_in_use(tmp_path: Path) -> None:
    work_dir = WorkDir(tmp_path)
    work_dir.hold()
    work_dir.keep_program()
    runner = work_dir.program / "rqflow" / "worker" / "runner.py"
    assert runner.read_bytes() == (program.INSTALLED / "rqflow" / "worker" / "runner.py").read_bytes()
    (work_dir.program / "mark").touch()
    work_dir.keep_program()
    assert (work_dir.program / "mark").exists()
    old = work_dir.program.with_name("old")
    old.mkdir()
    held = work_dir.take()
    work_dir.sweep([held], [])
    assert old.exists()
    work_dir.sweep([], [])
    assert [path.name for path in old.parent.iterdir()] == [work_dir.program.name]
    work_dir.release()


def test_without_room_for_a_copy_the_installed_program_serves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "program").write_text("in the way")
    work_dir = WorkDir(tmp_path)
    work_dir.keep_program()
    assert work_dir.program == program.INSTALLED
    assert "do not upgrade it while this worker runs" in caplog.text
