"""What our processes write to each other is read as it was meant, by this release and by those before it."""

from __future__ import annotations

import json
import math
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqflow.wire import decode, encode

#: Text with what Linux has in names: any bytes, which Python keeps as lone surrogates.
NAMES = st.one_of(st.text(), st.binary().map(os.fsdecode))
NUMBERS = st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False))
PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, NAMES), lambda inner: st.one_of(st.lists(inner), st.dictionaries(NAMES, inner)), max_leaves=20
)


@given(PLAIN)
def test_what_is_written_is_read(plain: Any) -> None:
    text = encode(plain)
    assert decode(text) == plain
    assert b"\n" not in text


@given(PLAIN)
def test_older_releases_read_it_too(plain: Any) -> None:
    assert json.loads(encode(plain).decode("utf-8", "surrogateescape")) == plain


@given(PLAIN)
def test_it_reads_what_older_releases_wrote(plain: Any) -> None:
    """They kept the bytes of a name as they were, on disk, or spelled each character beyond ASCII, in Redis."""
    assert decode(json.dumps(plain)) == plain


@given(st.dictionaries(st.binary().map(os.fsdecode), st.binary().map(os.fsdecode)))
def test_names_that_are_no_utf_8_are_read_from_their_bytes(plain: dict[str, str]) -> None:
    assert decode(json.dumps(plain, ensure_ascii=False).encode("utf-8", "surrogateescape")) == plain


def test_what_json_has_not_is_null_or_refused() -> None:
    assert decode(encode([math.nan, math.inf, (1, 2)])) == [None, None, [1, 2]]
    with pytest.raises(TypeError):
        encode({"a": object()})


@pytest.mark.parametrize("text", [b"", b"{", b"nope", b'{"a": 1', "\xff{"])
def test_what_is_no_json_is_said(text: bytes | str) -> None:
    with pytest.raises(ValueError, match=r"line 1"):
        decode(text)
