"""Reliability 77: secrets are blotted out, also when they are split over two pieces; a word of three letters is not."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqflow.security.masking import Masker, in_json, is_sensitive, secret_texts

SECRETS = st.lists(st.text(alphabet="ab@/ äö", min_size=4, max_size=9).filter(lambda text: len(text.strip()) >= 4), min_size=1, max_size=3)


@pytest.mark.parametrize(("name", "expected"), [
    ("db_password", True), ("PASSWD", True), ("api_key", True), ("apikey", True), ("slack_token", True), ("client_secret", True),
    ("private_key", True), ("x", False), ("keyboard", False), ("monkey", False), ("passenger", False), ("author", False),
])
def test_names_of_secrets_are_known(name: str, expected: bool) -> None:
    assert is_sensitive(name) is expected


def test_secrets_are_blotted_out_byte_by_byte() -> None:
    assert Masker(["hunter22"]).blot(b"login hunter22, hunter2") == b"login ********, hunter2"


@pytest.mark.parametrize("word", ["", "abc", "  ab ", "true", "None"])
def test_what_is_short_or_a_common_word_is_left_alone(word: str) -> None:
    assert not Masker([word])
    assert Masker([word, "long one"]).blot(b"abc true None ab") == b"abc true None ab"


def test_a_secret_is_known_in_a_url_and_in_json_and_line_by_line() -> None:
    masker = Masker(['p@s"s wörd', "first line\nsecond line"])
    for form in (b"p%40s%22s%20w%C3%B6rd", b"p%40s%22s+w%C3%B6rd", b'p@s\\"s w\\u00f6rd', "p@s\"s wörd".encode(), b"second line"):
        assert masker.blot(b"<" + form + b">") == b"<" + b"*" * len(form) + b">"


def test_texts_for_people_do_not_tell_how_long_a_secret_is() -> None:
    assert Masker(["hunter22"]).text("access denied: hunter22") == "access denied: ***"


@given(SECRETS, st.data())
def test_r77_no_cut_of_a_stream_changes_what_comes_out(secrets: list[str], data: st.DataObject) -> None:
    """Reliability 77: pieces of any size, read with the reach of the masker around them, come out as the whole does."""
    masker = Masker(secrets)
    parts = data.draw(st.lists(st.one_of(st.sampled_from(secrets), st.text(alphabet="ab@/ ä\n", max_size=6)), max_size=8))
    whole = "".join(parts).encode()
    expected = masker.blot(whole)
    at, out = 0, b""
    while at < len(whole):
        size = data.draw(st.integers(1, len(whole) - at))
        before, after = max(at - masker.reach, 0), at + size + masker.reach
        out += masker.blot(whole[before:after])[at - before:at - before + size]
        at += size
    assert out == expected
    for secret in secrets:
        if len(secret.strip()) >= 4:
            assert secret.strip().encode() not in expected
            assert quote(secret.strip(), safe="").encode() not in expected


@given(SECRETS, st.data())
def test_r77_what_may_yet_become_a_secret_is_held_back(secrets: list[str], data: st.DataObject) -> None:
    """Reliability 77: while a log grows, what is sure of its beginning stays what it is whatever comes."""
    masker = Masker(secrets)
    known = data.draw(st.text(alphabet="ab@/ ä", max_size=12)).encode()
    more = data.draw(st.sampled_from([*secrets, "", "a", "b@"])).encode()
    sure = masker.sure(known)
    assert masker.blot(known)[:sure] == masker.blot(known + more)[:sure]
    assert sure >= len(known) - masker.reach


def test_texts_in_json_are_secret_by_the_names_above_them() -> None:
    assert list(secret_texts({"host": "h", "auth": {"password": "p1", "list": ["x"]}, "tokens": ["t1", {"a": "t2"}], "n": 3})) == ["p1", "t1", "t2"]
    assert in_json('{"a": "x", "b": [1, "y"]}') == ['{"a": "x", "b": [1, "y"]}', "x", "y"]
    assert in_json("plain") == ["plain"]
