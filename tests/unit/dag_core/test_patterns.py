"""Regular expressions that people give: those of Python, and none that takes for ever."""

from __future__ import annotations

import re
import threading
import time
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqflow.dag import params, patterns
from rqflow.exceptions import UsageError
from tests.profile import PATIENCE

#: An expression and a text with which Python's own needs some 2 ** 40 steps.
ENDLESS, NAME = "(a|a)+$", "a" * 40 + "b"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 0.2)


@given(st.sampled_from(["", "a", "^a", "b$", "a.c", "[ab]+", "(?i)A", r"\d", r"\bab", "a|b", "(?=.*b)a", r"(a)\1", r"\[", "^(?:ab|a-b)$"]),
       st.lists(st.text(alphabet="abcAB1-_ [ä", max_size=6)))
def test_what_is_found_is_what_python_finds(pattern: str, texts: list[str]) -> None:
    assert patterns.found_in(pattern, texts) == [place for place, text in enumerate(texts) if re.search(pattern, text)]


@pytest.mark.parametrize("pattern", ["(", "a**", "[", "(?P<a"])
def test_what_is_no_expression_is_said(pattern: str) -> None:
    with pytest.raises(UsageError, match="is no regular expression"):
        patterns.is_in(pattern, "a")


def test_what_takes_too_long_is_refused_and_holds_up_nobody_meanwhile(impatient: None) -> None:
    turns: list[float] = []
    stop = threading.Event()
    other = threading.Thread(target=lambda: [turns.append(time.monotonic()) for _ in iter(lambda: stop.wait(0.01), True)])
    other.start()
    began = time.monotonic()
    try:
        with pytest.raises(UsageError, match="takes too long to look for"):
            patterns.found_in(ENDLESS, ["b", NAME])
    finally:
        stop.set()
        other.join()
    assert time.monotonic() - began < PATIENCE
    assert len([at for at in turns if at < began + 0.2]) > 2


SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "patternProperties": {"^n": {"type": "integer"}}},
    {"type": "object", "patternProperties": {"^n": {"type": "integer"}}, "additionalProperties": False},
    {"type": "object", "patternProperties": {"^n": {"type": "integer"}, "s$": True}, "properties": {"b": {"pattern": "^x"}}, "additionalProperties": {"type": "null"}},
    {"type": "object", "additionalProperties": False},
    {"type": "object", "properties": {"b": {}}, "additionalProperties": {"pattern": "x"}},
]


@given(st.sampled_from(SCHEMAS), st.dictionaries(st.sampled_from(["n", "na", "b", "ns", "s"]), st.sampled_from([1, "x", "y", None])) | st.just(3))
def test_params_with_expressions_fit_when_the_library_says_so(schema: dict[str, Any], value: Any) -> None:
    assert (params.mismatch(value, schema) == "") == jsonschema.Draft7Validator(schema).is_valid(value)


@pytest.mark.parametrize(("value", "schema"), [
    (NAME, {"type": "string", "pattern": ENDLESS}), ({NAME: 1}, {"patternProperties": {ENDLESS: {}}}),
    ({NAME: 1}, {"patternProperties": {ENDLESS: {}}, "additionalProperties": False}),
])
def test_a_param_whose_schema_takes_for_ever_cannot_be_checked(impatient: None, value: Any, schema: dict[str, Any]) -> None:
    assert params.mismatch(value, schema) == "cannot be checked: '(a|a)+$' takes too long to look for"
