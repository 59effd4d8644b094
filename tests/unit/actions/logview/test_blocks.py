from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rqflow.actions.logview import blocks
from rqflow.actions.logview.blocks import BYTES, Block
from rqflow.actions.logview.index import GRAIN, LineIndex, LineIndexes
from rqflow.actions.logview.logfile import LogFile, opened
from rqflow.actions.logview.shown import CUT

SIZES = st.one_of(st.integers(0, 80), st.integers(0, 2000), st.sampled_from([GRAIN - 1, GRAIN, 3 * CUT, BYTES - 1, BYTES, BYTES + 1, 2 * BYTES]))
CONTENTS = st.builds(lambda sizes, ends: b"\n".join(b"%d" % (at % 10) * size for at, size in enumerate(sizes)) + b"\n" * ends,
                     st.lists(SIZES, max_size=30), st.booleans())


def starts_of(data: bytes) -> list[int]:
    """Where the lines of some bytes begin."""
    return [0, *(at + 1 for at, byte in enumerate(data) if byte == 10 and at + 1 < len(data))] if data else []


def tiled(file: LogFile, count: int) -> tuple[list[Block], list[Block]]:
    """All blocks of a file, from its beginning on, and from its end back."""
    down, up = [blocks.after(file, 0, count)], [blocks.before(file, file.size, count)]
    while not down[-1].is_at_end:
        down.append(blocks.after(file, down[-1].end, count))
    while up[-1].start > 0:
        up.append(blocks.before(file, up[-1].start, count))
    return down, up[::-1]


@given(CONTENTS, st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_blocks_are_the_whole_file_from_either_end_each_line_once(data: bytes, count: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.write_bytes(data)
        with opened(path) as file:
            for found in tiled(file, count):
                assert found[0].start == 0
                assert found[-1].end == len(data)
                assert all(one.end == two.start for one, two in pairwise(found))
                assert all(len(one.lines) <= count for one in found)
                assert [line.start for one in found for line in one.lines] == starts_of(data)
                assert sum(line.length for one in found for line in one.lines) + data.count(b"\n") == len(data)


@given(CONTENTS, st.integers(0, 2_000_000))
@settings(max_examples=60, deadline=None)
def test_a_block_around_a_byte_has_its_line(data: bytes, at: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.write_bytes(data)
        at = min(at, max(len(data) - 1, 0))
        with opened(path) as file:
            found = blocks.around(file, at, 6, 2)
            assert not data or max(start for start in starts_of(data) if start <= at) in [line.start for line in found.lines]
            assert sum(len(line.text) for line in found.lines) <= 2 * BYTES


def test_a_block_is_numbered_and_lines_are_found_by_number(tmp_path: Path) -> None:
    path = tmp_path / "log"
    text = [b"%d" % (number * 37 % 1001) * (number % 50) for number in range(40_000)]
    data = b"\n".join(text) + b"\n"
    path.write_bytes(data)
    starts = starts_of(data)
    rng = random.Random(1)
    with opened(path) as file:
        index = LineIndex(file)
        for number in [1, 2, 40_000, *(rng.randint(1, 40_000) for _ in range(100))]:
            assert index.offset_of(file, number, seconds=9) == starts[number - 1]
            assert index.number_at(file, starts[number - 1], seconds=9) == number
        assert index.number_at(file, file.size, seconds=9) == 40_001
        assert index.offset_of(file, 99_999, seconds=9) == starts[-1]


def test_an_index_that_has_no_time_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a line\n" * 3_000_000)
    with opened(path) as file:
        index = LineIndex(file)
        asked = 1
        while (number := index.number_at(file, 7 * 2_999_999, seconds=0)) is None:
            asked += 1
        assert number == 3_000_000
        assert asked > 5
        assert index.number_at(file, 7 * 2_999_999, seconds=0) == 3_000_000


def test_an_index_grows_with_its_log(tmp_path: Path) -> None:
    path, indexes = tmp_path / "log", LineIndexes()
    path.touch()
    for part in range(50):
        with path.open("ab") as stream:
            stream.write(b"x" * (part * 100) + b"\n" + b"y" * 9000 + b"\n")
        with opened(path) as file:
            assert indexes.of(path, file).number_at(file, file.size, seconds=9) == 2 * part + 3
    with opened(path) as file:
        before = indexes.of(path, file)
        assert before.covered > 0
    path.unlink()
    path.write_bytes(b"another\n" * 100_000)
    with opened(path) as file:
        assert indexes.of(path, file) is not before
        assert indexes.of(path, file).number_at(file, file.size, seconds=9) == 100_001


def test_few_indexes_are_kept(tmp_path: Path) -> None:
    indexes = LineIndexes(most_logs=2)
    paths = [tmp_path / str(number) for number in range(3)]
    made = []
    for path in paths:
        path.write_bytes(b"x")
        with opened(path) as file:
            made.append(indexes.of(path, file))
    with opened(paths[2]) as file:
        assert indexes.of(paths[2], file) is made[2]
    with opened(paths[0]) as file:
        assert indexes.of(paths[0], file) is not made[0]


@pytest.mark.parametrize(("moments", "seen"), [([], [None, None]), ([(0, 5)], [5, 5]), ([(0, 5), (2, 9)], [9, 9]), ([(0, 5), (4, 9)], [5, 9])])
def test_a_line_came_when_its_last_byte_did(moments: list[tuple[int, int]], seen: list[int | None], tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"ab\ncd\n")
    with opened(tmp_path / "log") as file:
        assert [line.at for line in blocks.timed(blocks.after(file, 0), moments).lines] == seen
