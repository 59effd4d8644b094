from __future__ import annotations

from typing import Any

import pytest

from rqflow.dag.params import Param, mismatch, specs_of, values_of, with_given
from rqflow.exceptions import UsageError


@pytest.mark.parametrize(
    ("value", "schema", "fits"),
    [
        (1, {"type": "integer"}, True),
        ("1", {"type": "integer"}, False),
        (True, {"type": "integer"}, False),
        (1.5, {"type": "number"}, True),
        (None, {"type": ["null", "string"]}, True),
        (None, {"type": "string"}, False),
        ([1], {"type": "array"}, True),
        ({}, {"type": "object"}, True),
        (True, {"type": "boolean"}, True),
        ("b", {"enum": ["a", "b"]}, True),
        ("c", {"enum": ["a", "b"]}, False),
        (2, {"const": 2}, True),
        (5, {"minimum": 5, "maximum": 5}, True),
        (5, {"exclusiveMinimum": 5}, False),
        (5, {"exclusiveMaximum": 5}, False),
        ("abc", {"minLength": 3, "maxLength": 3, "pattern": "^a"}, True),
        ("abc", {"maxLength": 2}, False),
        ("abc", {"pattern": "^b"}, False),
        ("x", {"format": "date", "title": "unchecked"}, True),
    ],
)
def test_values_are_held_against_the_schema(value: Any, schema: dict[str, Any], fits: bool) -> None:
    assert (mismatch(value, schema) == "") is fits


def test_params_are_values_and_specs() -> None:
    params = {"n": Param(5, "how many", type="integer", minimum=1), "plain": "x", "must": Param(type="string")}
    assert values_of(params) == {"n": 5, "plain": "x"}
    assert specs_of(params) == {
        "n": {"description": "how many", "schema": {"type": "integer", "minimum": 1}},
        "must": {"required": True, "schema": {"type": "string"}},
    }


def test_values_given_at_the_trigger_are_checked() -> None:
    specs = specs_of({"n": Param(5, type="integer", minimum=1), "must": Param(type="string")})
    assert with_given({"n": 5}, specs, {"must": "a", "more": 1}) == {"n": 5, "must": "a", "more": 1}
    with pytest.raises(UsageError, match=r"must: it has no default and must be given; n: 0 does not fit minimum: 1"):
        with_given({"n": 5}, specs, {"n": 0})


def test_param_resolves_as_in_airflow() -> None:
    assert Param(5, type="integer").resolve() == 5
    assert Param(5, schema={"type": "integer"}).resolve(6) == 6
    with pytest.raises(ValueError, match="does not fit"):
        Param(5, type="integer").resolve("x")
    with pytest.raises(ValueError, match="no value"):
        Param().resolve()
    assert Param().resolve(suppress_exception=True) is None
    assert repr(Param().value) == "<no default>"
