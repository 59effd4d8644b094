"""The form for the params of a DAG: what it asks for, and what it makes of what was filled in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqflow.exceptions import UsageError
from rqflow.web.forms import fields_of, read

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)
#: A default of each kind, with the schema that an author would write for it, or none.
PARAMS = st.one_of(
    st.tuples(TEXT.filter(lambda text: text.strip() != ""), st.sampled_from([{}, {"type": "string"}, {"type": ["string", "null"]}])),
    st.tuples(st.integers(-10**9, 10**9), st.sampled_from([{}, {"type": "integer"}, {"type": "number"}])),
    st.tuples(st.floats(allow_nan=False, allow_infinity=False, width=32), st.sampled_from([{}, {"type": "number"}])),
    st.tuples(st.booleans(), st.sampled_from([{}, {"type": "boolean"}])),
    st.tuples(st.lists(TEXT.filter(lambda text: text.strip() != "")), st.sampled_from([{}, {"type": "array", "items": {"type": "string"}}])),
    st.tuples(st.dictionaries(TEXT, st.integers()), st.sampled_from([{}, {"type": "object"}])),
    st.tuples(st.none(), st.sampled_from([{}, {"type": ["integer", "null"]}, {"type": "null"}])),
    st.tuples(st.sampled_from(["small", "large"]), st.just({"enum": ["small", "large"]})),
    st.tuples(st.sampled_from([1, 2]), st.just({"type": "integer", "enum": [1, 2]})),
)


@given(st.dictionaries(TEXT, PARAMS, max_size=4))
def test_a_form_sent_as_it_came_gives_the_defaults(params: dict[str, tuple[Any, dict[str, Any]]]) -> None:
    defaults = {name: value for name, (value, _) in params.items()}
    specs = {name: {"schema": schema} for name, (_, schema) in params.items()}
    filled = {one.element: one.value.replace("\n", "\r\n") for one in fields_of(defaults, specs)}
    assert read(filled, defaults, specs) == defaults


@pytest.mark.parametrize(("schema", "kind"), [
    ({"type": "string"}, "text"), ({"type": "string", "format": "date"}, "date"), ({"type": "string", "format": "multiline"}, "lines"),
    ({"type": "integer"}, "number"), ({"type": "boolean"}, "yes_no"), ({"enum": ["a"]}, "choice"), ({"type": "array", "items": {"type": "string"}}, "list"),
    ({"type": "array", "items": {"type": "integer"}}, "json"), ({"type": "object"}, "json"), ({"type": ["string", "integer"]}, "json"),
])
def test_the_schema_says_which_field_a_param_gets(schema: dict[str, Any], kind: str) -> None:
    field, = fields_of({}, {"sample": {"schema": schema, "required": True}})
    assert (field.kind, field.is_required) == (kind, True)


def test_limits_of_the_schema_are_those_of_the_field() -> None:
    number, text = fields_of({"n": 1, "t": "a"}, {"n": {"schema": {"type": "integer", "minimum": 0, "maximum": 9}},
                                                  "t": {"schema": {"type": "string", "maxLength": 3, "pattern": "a+"}}})
    assert dict(number.limits) == {"min": "0", "max": "9", "step": "1"}
    assert dict(text.limits) == {"maxlength": "3", "pattern": "a+"}


def test_values_of_an_earlier_run_stand_in_the_fields() -> None:
    field, = fields_of({"city": "Bern"}, {}, {"city": "Chur", "unknown": 1})
    assert field.value == "Chur"


@pytest.mark.parametrize(("text", "default"), [("much", 1), ("[1, 2]", 1), ("true", 1.5), ("{", {"a": 1}), ("[" * 100_000, {"a": 1})])
def test_what_is_no_number_or_no_json_is_named(text: str, default: Any) -> None:
    with pytest.raises(UsageError, match=r"^n: "):
        read({"param.n": text}, {"n": default}, {})


def test_a_param_without_a_default_must_be_filled_in() -> None:
    with pytest.raises(UsageError, match="sample: it needs a value"):
        read({"param.sample": ""}, {}, {"sample": {"schema": {"type": "string"}, "required": True}})


def test_what_the_form_did_not_have_is_left_out() -> None:
    assert read({"param.other": "1"}, {"n": 1}, {}) == {}
