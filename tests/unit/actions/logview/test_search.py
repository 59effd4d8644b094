from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rqflow.actions.logview import search as searching
from rqflow.actions.logview.logfile import STEP, opened
from rqflow.actions.logview.search import Finder, for_errors, for_text, search
from rqflow.actions.logview.shown import is_error
from rqflow.exceptions import UsageError


def all_hits(path: Path, finder: Finder, **limits: float) -> tuple[list[tuple[int, int]], int]:
    """All hits of a file, by as many calls as it takes."""
    hits: list[tuple[int, int]] = []
    start, line, calls = 0, 1, 0
    while True:
        calls += 1
        with opened(path) as file:
            found = search(file, finder, start, line, **limits)  # type: ignore[arg-type]
        hits += [(hit.offset, hit.line) for hit in found.hits]
        start, line = found.upto, found.line
        if found.is_all:
            return hits, calls


def expected(data: bytes, wanted: bytes) -> list[tuple[int, int]]:
    at, hits = 0, []
    for number, line in enumerate(data.split(b"\n"), 1):
        if wanted in line.lower():
            hits.append((at, number))
        at += len(line) + 1
    return hits


PIECES = st.sampled_from([b"needle", b"NEEDLE", b"need", b"le", b"\n", b"\n\n", b"x" * 300, b"y" * (STEP - 3), b"\xff", "ä".encode()])


@given(st.lists(PIECES, max_size=40), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_each_line_with_the_text_is_found_once_with_its_number(pieces: list[bytes], most: int) -> None:
    data = b"".join(pieces)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.write_bytes(data)
        hits, _ = all_hits(path, for_text("Needle"), most=most)
        assert hits == expected(data, b"needle")


def test_a_search_that_has_no_time_goes_on_where_it_was(tmp_path: Path) -> None:
    data = b"".join(b"line %d%s\n" % (number, b" needle" * (number % 9 == 0)) for number in range(100_000))
    (tmp_path / "log").write_bytes(data)
    hits, calls = all_hits(tmp_path / "log", for_text("needle"), seconds=0)
    assert hits == expected(data, b"needle")
    assert calls > 5


@pytest.mark.parametrize(("text", "found"), [("größe", 3), ("GRÖSSE", 0), ("[x].*", 1), ("漢", 1), ("straße", 1)])
def test_text_is_found_in_either_case_and_taken_as_it_is(text: str, found: int, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("Größe\nGRÖßE\ngröße\n[X].*\n漢字\nStraße\n", encoding="utf-8")
    assert len(all_hits(tmp_path / "log", for_text(text))[0]) == found


@pytest.mark.parametrize("text", ["", "x" * (searching.LONGEST + 1), "two\nlines"])
def test_what_no_log_can_be_searched_for_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        for_text(text)


def test_errors_are_found_as_lines_count_as_such(tmp_path: Path) -> None:
    lines = [b"fine", b"Traceback (most recent call last):", b'  File "x"', b"ValueError: no", b"0 errors: none", b"ERROR ERROR", b"\x1b[31mERROR\x1b[0m",
             b"rqflow: exit code 1, ERROR", b"error: last"]
    (tmp_path / "log").write_bytes(b"\n".join(lines))
    hits, _ = all_hits(tmp_path / "log", for_errors)
    assert [number for _, number in hits] == [number for number, line in enumerate(lines, 1) if is_error(line)] == [2, 4, 6, 7, 9]


def test_a_line_that_has_no_end_yet_is_looked_at_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\nnee")
    with opened(path) as file:
        found = search(file, for_text("needle"))
    assert (found.hits, found.is_all, found.upto, found.line) == ((), True, 4, 2)
    path.write_bytes(b"one\nneedle\n")
    with opened(path) as file:
        assert [hit.line for hit in search(file, for_text("needle"), found.upto, found.line).hits] == [2]
