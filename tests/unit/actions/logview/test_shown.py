from __future__ import annotations

import pytest

from rqflow.actions.logview.shown import CUT, Kind, ShownLine, Span, is_error, show


def shown(raw: bytes) -> ShownLine:
    tail = raw[-CUT:] if len(raw) > 2 * CUT else b""
    return show(Span(0, len(raw), raw[:CUT] if tail else raw, tail))


@pytest.mark.parametrize(("raw", "text"), [
    (b"plain", "plain"),
    (b"<script>alert(1)</script>", "<script>alert(1)</script>"),
    (b"unix\r", "unix"),
    (b"  0%\r 50%\r100%", "100%"),
    (b"  0%\r100%\r", "100%"),
    (b"100%\r\x1b[K", "100%"),
    (b"\r\r", ""),
    (b"a\xff\xfeb", "a\ufffd\ufffdb"),
    ("Größe 漢字".encode(), "Größe 漢字"),
    (b"nul\0 bell\x07 tab\t.", "nul\u2400 bell\u2407 tab\t."),
    (b"\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
    (b"\x1b[2K\x1b[1Aup", "up"),
    (b"\x1b]0;title\x07text", "text"),
    (b"\x1b]8;;http://e.example/\x1b\\link\x1b]8;;\x1b\\", "link"),
    (b"\x1bPdevice\x1b\\after", "after"),
    (b"\x1bcreset", "reset"),
    (b"ends in \x1b", "ends in "),
    (b"half a sequence \x1b[31", "half a sequence 31"),
    ("c1 \x9b31m".encode(), "c1 \ufffd31m"),
])
def test_a_line_is_shown_as_text_with_nothing_but_colours_in_it(raw: bytes, text: str) -> None:
    assert shown(raw).text == text


def test_of_a_long_line_the_beginning_is_shown_and_how_much_is_left_out() -> None:
    line = shown(b"x" * (50 << 20))
    assert (line.text, line.left_out, line.length) == ("x" * CUT, (50 << 20) - CUT, 50 << 20)
    line = shown(b"y" * (CUT + 5))
    assert (len(line.text), line.left_out) == (CUT, 5)


def test_a_line_is_not_cut_within_a_character() -> None:
    line = shown(b"x" + "ä".encode() * CUT)
    assert line.text == "x" + "ä" * (CUT // 2 - 1)
    assert line.left_out == CUT + 2


def test_a_long_progress_bar_is_shown_in_its_last_state() -> None:
    line = shown(b"".join(b"\r%3d%% of it" % (at % 100) for at in range(100_000)) + b"\r")
    assert (line.text, line.left_out) == (" 99% of it", 0)


@pytest.mark.parametrize(("raw", "kind", "title"), [
    (b"::group::Set up", Kind.GROUP, "Set up"),
    (b"##[group]Set up", Kind.GROUP, "Set up"),
    (b"[2026-01-01] INFO - ::group::Log of pre-task", Kind.GROUP, "Log of pre-task"),
    (b"\x1b[36m::group::in colour\x1b[0m", Kind.GROUP, "in colour"),
    (b"::endgroup::", Kind.ENDGROUP, ""),
    (b"::error file=a.py,line=1::broken", Kind.ERROR, "broken"),
    (b"::warning::old", Kind.WARNING, "old"),
    (b"std::group::x", Kind.PLAIN, ""),
    (b"ValueError: no", Kind.ERROR, ""),
    (b"fine", Kind.PLAIN, ""),
])
def test_markers_say_what_a_line_means(raw: bytes, kind: Kind, title: str) -> None:
    line = shown(raw)
    assert (line.kind, line.title) == (kind, title)


@pytest.mark.parametrize(("line", "is_one"), [
    (b"Traceback (most recent call last):", True),
    (b"pkg.errors.OddError: it broke", True),
    (b"java.lang.NullPointerException: x", True),
    (b"error: no such file", True),
    (b"gcc: fatal error: no input files", True),
    (b"main.go: panic: nil", True),
    (b"2026-01-01 12:00:00 ERROR main it broke", True),
    (b"\x1b[31mERROR\x1b[0m it broke", True),
    (b"[CRITICAL] disk", True),
    (b"::error::x", True),
    (b"0 errors, 0 warnings", False),
    (b"ERRORS=0", False),
    (b"no error: here", False),
    (b"rqflow: exit code 1, ERROR", False),
])
def test_what_counts_as_an_error(line: bytes, is_one: bool) -> None:
    assert is_error(line) is is_one
