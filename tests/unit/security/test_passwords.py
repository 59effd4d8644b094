"""Hashes of passwords, and secrets of which only a digest is kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rqflow.exceptions import UsageError
from rqflow.security import bearer
from rqflow.security.passwords import LEAST, MOST, Passwords

CHEAP = Passwords(memory=32, passes=1)
WORDS = st.text(min_size=LEAST, max_size=30)


@given(WORDS, WORDS)
@settings(max_examples=30)
def test_a_hash_knows_its_password_and_no_other(password: str, other: str) -> None:
    kept = CHEAP.hash(password)
    assert CHEAP.verify(kept, password)
    assert CHEAP.verify(kept, other) is (password == other)
    assert password not in kept


def test_the_same_password_has_another_hash_each_time() -> None:
    assert CHEAP.hash("correct horse") != CHEAP.hash("correct horse")


@pytest.mark.parametrize("password", ["", "x" * (LEAST - 1), "x" * (MOST + 1)])
def test_what_is_too_short_or_too_long_is_refused(password: str) -> None:
    with pytest.raises(UsageError, match="a password has at"):
        CHEAP.hash(password)


def test_a_long_password_counts_to_its_last_letter() -> None:
    kept = CHEAP.hash("x" * MOST)
    assert CHEAP.verify(kept, "x" * MOST)
    assert not CHEAP.verify(kept, "x" * (MOST - 1) + "y")
    assert not CHEAP.verify(kept, "x" * (MOST + 1))


@pytest.mark.parametrize("kept", ["", "no hash", "$argon2id$v=19$broken"])
def test_what_is_no_hash_lets_nobody_in(kept: str) -> None:
    assert not CHEAP.verify(kept, "")
    assert not CHEAP.verify(kept, "correct horse")


def test_a_hash_of_another_cost_is_known_as_outdated() -> None:
    kept = CHEAP.hash("correct horse")
    assert not CHEAP.is_outdated(kept)
    assert Passwords(memory=64, passes=1).is_outdated(kept)
    assert Passwords(memory=64, passes=1).verify(kept, "correct horse")


def test_secrets_are_long_differ_and_do_not_show_in_their_digest() -> None:
    made = {bearer.new_secret() for _ in range(100)} | {bearer.new_token() for _ in range(100)}
    assert len(made) == 200
    for secret in made:
        assert len(secret.removeprefix(bearer.TOKEN)) == 43, "256 bits"
        assert len(bearer.digest(secret)) == 64
        assert secret not in bearer.digest(secret)
