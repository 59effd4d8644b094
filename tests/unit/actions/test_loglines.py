from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from rqflow.actions import loglines
from rqflow.actions.loglines import Part
from rqflow.exceptions import UsageError

LOG = [b"one\ntw", b"o\nthree\n", b"\x1b[31mfour\x1b[0m\n\xff\xfe\n", b"six"]


def of(**wanted: object) -> list[bytes]:
    return list(loglines.of(LOG, Part(**wanted)))


def test_all_of_a_log_is_passed_on_as_it_comes() -> None:
    assert of() == LOG


def test_first_and_last_lines() -> None:
    assert of(head=2) == [b"one\n", b"two\n"]
    assert of(tail=2) == [b"\xff\xfe\n", b"six"]
    assert of(head=0) == of(tail=0) == []
    assert len(of(tail=100)) == 6


def test_no_more_is_waited_for_than_the_first_lines() -> None:
    def growing() -> Iterator[bytes]:
        yield b"one\ntwo\n"
        raise AssertionError("it was asked for more")

    assert list(loglines.of(growing(), Part(head=2))) == [b"one\n", b"two\n"]


def test_lines_that_match_with_those_around_them() -> None:
    assert of(grep="^t") == [b"two\n", b"three\n"]
    assert of(grep="^four$") == [b"\x1b[31mfour\x1b[0m\n"], "colours do not hide a word"
    assert of(grep="one|six", context=1) == [b"one\n", b"two\n", b"--\n", b"\xff\xfe\n", b"six"]
    assert of(grep="o", tail=1) == [b"\x1b[31mfour\x1b[0m\n"]
    assert of(grep="nothing") == []


def test_colours_are_left_out() -> None:
    assert of(no_ansi=True)[3] == b"four\n"


def test_a_line_without_end_is_passed_on_in_pieces() -> None:
    assert [len(piece) for piece in loglines.of([b"x" * (loglines.LONGEST + 1)] * 2, Part(tail=5))] == [loglines.LONGEST + 1] * 2


@pytest.mark.parametrize(("wanted", "message"), [
    ({"head": 1, "tail": 1}, "exclude each other"), ({"context": 1}, "Add --grep"), ({"grep": "("}, "no regular expression"),
])
def test_what_contradicts_itself_is_refused(wanted: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Part(**wanted)


def test_lines_say_when_their_last_byte_came() -> None:
    found = list(loglines.lines(LOG, Part(), lambda offset: datetime.fromtimestamp(offset, UTC)))
    assert [(line.text, line.at.timestamp() if line.at else None) for line in found[:3]] == [(b"one\n", 3), (b"two\n", 7), (b"three\n", 13)]
    since = datetime.fromtimestamp(7, UTC)
    assert [line.text for line in loglines.lines(LOG, Part(since=since, head=1), lambda offset: datetime.fromtimestamp(offset, UTC))] == [b"two\n"]
    assert [line.text for line in loglines.lines(LOG, Part(since=since), lambda _: None)] == [line.text for line in found], "what nobody knows is shown"
    assert [line.is_gap for line in loglines.lines(LOG, Part(grep="one|six", context=1))] == [False, False, True, False, False]
