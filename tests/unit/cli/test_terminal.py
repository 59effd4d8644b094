from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqflow.cli.terminal import Harmless, clean

EVIL = {
    "title": b"\x1b]0;owned\x07", "clipboard": b"\x1b]52;c;ZXZpbA==\x1b\\", "clears the screen": b"\x1b[2J\x1b[H", "answers back": b"\x1b[c\x1b[6n\x05",
    "device control": b"\x1bP+q544e\x1b\\", "moves up": b"\x1b[5A", "other character set": b"\x1b(0", "reset": b"\x1bc", "C1 of Latin-1": b"\xc2\x9b2J",
    "never ends": b"\x1b]0;" + b"x" * 9000, "private colours": b"\x1b[>4;2m", "bell and nul": b"\x07\0\x0e",
}


@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL)
def test_what_a_terminal_would_obey_does_not_get_there(evil: bytes) -> None:
    harmless = Harmless()
    shown = harmless.feed(b"before " + evil + b" after\n") + harmless.rest()
    assert b"\x1b" not in shown
    assert shown.startswith(b"before ")
    assert shown.endswith(b" after\n")


def test_colours_and_text_stay() -> None:
    text = "\x1b[1;31mred\x1b[0m\tgrün 日本\r\n50 %\b\b\x1b[38:5:9mx\x1b[m".encode()
    assert clean(text) == text


@given(st.lists(st.sampled_from([*EVIL.values(), b"\x1b[31m", b"text", b"\x1b", b"[", b"\n", "é".encode()])), st.integers(1, 7))
def test_nothing_slips_through_between_two_pieces(parts: list[bytes], size: int) -> None:
    data = b"".join(parts)
    harmless = Harmless()
    shown = b"".join(harmless.feed(data[at:at + size]) for at in range(0, len(data), size)) + harmless.rest()
    assert b"\x1b" not in shown.replace(b"\x1b[31m", b"").replace(b"\x1b[m", b"")
    assert not {*b"\0\x05\x07\x0e"} & {*shown}
