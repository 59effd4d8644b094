from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rqflow.recorder import logtimes
from rqflow.recorder.logtimes import LogTimes


def seconds(times: LogTimes, *offsets: int) -> list[float]:
    found = [times.at(offset) for offset in offsets]
    return [moment.timestamp() for moment in found if moment]


def test_times_are_read_again_as_the_index_grows(tmp_path: Path) -> None:
    log = tmp_path / "1.log"
    times = LogTimes(log, datetime.fromtimestamp(5, UTC))
    assert seconds(times, 0, 9) == [5, 5]
    logtimes.note(str(log), 0, 10_000)
    assert seconds(times, 0, 9) == [10, 10]
    logtimes.note(str(log), 4, 20_500)
    assert seconds(times, 0, 3, 4, 9) == [10, 10, 20.5, 20.5]
    logtimes.remove(log)
    logtimes.remove(log)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["0 10000\n4 2", "0 10000\nx y\n4 20000\n", "0 10000\n4 99 99\n4 20000\n", "0 10000\n\xff\n4 20000\n"])
def test_lines_that_a_full_disk_cut_do_no_harm(text: str, tmp_path: Path) -> None:
    (tmp_path / "1.log.times").write_text(text, encoding="latin-1")
    assert seconds(LogTimes(tmp_path / "1.log"), 0)[0] == 10
    assert seconds(LogTimes(tmp_path / "1.log"), 4)[0] in {10, 20}


def test_a_clock_that_was_set_back_turns_no_lines_round(tmp_path: Path) -> None:
    (tmp_path / "1.log.times").write_text("0 20000\n4 10000\n8 30000\n")
    assert seconds(LogTimes(tmp_path / "1.log"), 0, 4, 8) == [20, 20, 30]


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 10_000)), max_size=800), st.integers(0, 100_000), st.integers(1, 5000))
@settings(max_examples=40, deadline=None)
def test_a_part_of_the_index_says_what_all_of_it_says(parts: list[tuple[int, int]], start: int, length: int) -> None:
    with TemporaryDirectory() as folder:
        log = Path(folder) / "1.log"
        offset, moment = 0, 1_700_000_000_000
        for size, later in parts:
            logtimes.note(str(log), offset, moment)
            offset, moment = offset + size, moment + later
        found = logtimes.between(log, start, start + length)
        every = LogTimes(log, datetime.fromtimestamp(0, UTC))
        for at in range(start, start + length, 97):
            here = max((moment for offset, moment in found if offset <= at), default=0)
            assert not parts or here == int((every.at(at) or datetime.fromtimestamp(0, UTC)).timestamp() * 1000 + 0.5)


def test_a_part_of_the_index_passes_over_lines_that_a_full_disk_cut(tmp_path: Path) -> None:
    (tmp_path / "1.log.times").write_bytes(b"0 10\n5 2\n9 9 9\n\xff 1\n20 30\n40 50\n")
    assert logtimes.between(tmp_path / "1.log", 6, 25) == [(5, 10), (20, 30)]
    assert logtimes.between(tmp_path / "2.log", 6, 25) == []
