from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rqflow.actions.logview.following import BEHIND, Follower, Grown
from rqflow.actions.logview.logfile import opened
from rqflow.actions.logview.shown import CUT, ShownLine


def steps(follower: Follower) -> list[Grown]:
    """All that there is now."""
    found = []
    while (grown := follower.step()) is not None:
        found.append(grown)
    return found


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as stream:
        stream.write(data)


PARTS = st.lists(st.sampled_from([b"a", b"bc\n", b"\n", b"one\ntwo", "ä".encode()[:1], "ä".encode()[1:], b"\xff", b" 10%\r", b"z" * 3000, b"<b>\n"]), max_size=40)


@given(PARTS, st.integers(1, 5))
@settings(max_examples=80, deadline=None)
def test_what_is_followed_is_what_the_file_has_wherever_the_link_breaks(parts: list[bytes], breaks: int) -> None:
    """Reliability 55: whoever goes on from the last id that it was told has each line once."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        lines: list[ShownLine] = []
        last: ShownLine | None = None
        follower = Follower(path, 0)
        for number, part in enumerate(parts):
            append(path, part)
            for grown in steps(follower):
                lines += grown.lines
                last = grown.open
                upto = grown.upto
            if number % breaks == 0:
                follower = Follower(path, upto)
        data = path.read_bytes() if parts else b""
        *ended, rest = data.split(b"\n")
        seen = [(line.start, line.length, line.text) for line in [*lines, *([last] if last else [])]]
        with TemporaryDirectory() as other:
            whole = Path(other) / "log"
            whole.write_bytes(data)
            (once,) = steps(Follower(whole, 0)) or [Grown(lines=(), open=None, upto=0)]
        assert seen == [(line.start, line.length, line.text) for line in [*once.lines, *([once.open] if once.open else [])]]
        assert [line.length for line in lines] == [len(line) for line in ended]
        assert (last.length if last else 0) == len(rest)


def test_a_line_without_an_end_is_told_as_it_stands_and_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.touch()
    follower = Follower(path, 0)
    for _ in range(40):
        append(path, b"x" * 100_000)
        grown = steps(follower)[-1]
        assert grown.open is not None
        assert len(grown.open.text) == CUT
    assert grown.open.left_out == 4_000_000 - CUT
    append(path, b"\r 99%")
    assert [grown.open.text for grown in steps(follower) if grown.open] == [" 99%"]
    append(path, b"\nnext\n")
    assert [line.text for grown in steps(follower) for line in grown.lines] == [" 99%", "next"]


def test_what_comes_faster_than_it_is_read_is_passed_over_and_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "log"
    append(path, b"first\n")
    follower = Follower(path, 0)
    steps(follower)
    append(path, b"much\n" * (BEHIND // 4) + b"last\n")
    grown = steps(follower)
    assert grown[0].passed_over == grown[0].lines[0].start > 6
    assert grown[-1].lines[-1].text == "last"
    with opened(path) as file:
        assert file.line_start(grown[0].passed_over) == grown[0].passed_over
        assert grown[-1].upto == file.size


def test_a_log_that_has_not_begun_is_waited_for_and_one_that_went_is_said_to_be_gone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    follower = Follower(path, 0)
    assert follower.step() is None
    path.write_bytes(b"x\n")
    assert len(steps(follower)) == 1
    path.unlink()
    with pytest.raises(FileNotFoundError):
        follower.step()
    path.write_bytes(b"x\n")
    (tmp_path / "other").touch()
    (tmp_path / "other").replace(path)
    with pytest.raises(FileNotFoundError):
        follower.step()
