from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

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
