from __future__ import annotations

import http.server
import threading
from pathlib import Path
from typing import Any

import pytest

from rqflow.dag.params import Param, in_order, mismatch, problems, specs_of, values_of, with_given
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
        ("x", {"title": "unchecked", "values_display": {"a": "A"}}, True),
        ("2026-02-30", {"format": "date"}, False),
        ("2026-02-28", {"format": "date"}, True),
        ("2026-02-28T08:00:00+01:00", {"format": "date-time"}, True),
        ("2026-02-28T08:00:00", {"format": "date-time"}, False),
        ("25:00", {"format": "time"}, False),
        ("08:00", {"format": "time"}, True),
        ("nobody", {"format": "email"}, False),
        ((1, 2), {"type": "array", "items": {"type": "integer"}, "minItems": 2}, True),
        ({"a": {"b": "x"}}, {"properties": {"a": {"properties": {"b": {"type": "integer"}}}}}, False),
        (7, {"multipleOf": 2}, False),
        (7, {"anyOf": [{"type": "string"}, {"minimum": 5}]}, True),
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


def test_what_does_not_fit_is_named_with_its_place() -> None:
    schema = {"type": "object", "properties": {"size": {"type": "array", "items": {"minimum": 1}}}}
    assert mismatch({"size": [1, 0]}, schema) == ".size[1]: 0 does not fit minimum: 1"


def test_params_of_a_file_are_held_against_their_schemas() -> None:
    params = {"n": Param(0, type="integer", minimum=1), "must": Param(type="string"), "odd": Param(1, type="intger"), "plain": 5, "fine": Param("a")}
    said = problems(params, is_scheduled=True)
    assert said[0] == "param n: its default 0 does not fit minimum: 1"
    assert said[1] == "param must has no default, which a DAG with a schedule needs"
    assert said[2].startswith("param odd: its schema is no JSON Schema: type: 'intger' is not valid")
    assert len(said) == 3
    assert len(problems(params, is_scheduled=False)) == 1


def test_a_default_that_does_not_fit_is_seen_when_a_person_starts_a_run() -> None:
    specs = specs_of({"n": Param(None, type="integer")})
    with pytest.raises(UsageError, match="n: None does not fit type: 'integer'"):
        with_given({"n": None}, specs, {}, by_hand=True)
    assert with_given({"n": None}, specs, {"n": 1}, by_hand=True) == {"n": 1}


@pytest.mark.parametrize("source", [
    "x = {'b': 0}\nDAG('d', params={'zebra': 1, 'b': Param(2), 'a': 3})", "DAG('d', params=dict(zebra=1, b=2, a=3))",
    "@dag()\ndef d(zebra, b=2, *, a=3): pass", "P = {'zebra': 1, 'b': 2}\nP['a'] = 3\nDAG('d', params=P)",
])
def test_params_stand_in_the_order_of_their_file(source: str) -> None:
    assert in_order(source, ["a", "b", "zebra"]) == ["zebra", "b", "a"]


@pytest.mark.parametrize("source", ["", "no python (", "\0", "x = 1", "(" * 100_000, "# long" * 100_000])
def test_params_of_a_file_that_tells_no_order_stay_as_they_are(source: str) -> None:
    assert in_order(source, ["b", "a", "b"]) == ["b", "a"]


def test_nothing_is_fetched_that_a_schema_refers_to(tmp_path: Path) -> None:
    """Whoever writes a schema would let the hub ask whom they like, and read its files."""
    asked: list[str] = []

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    file = tmp_path / "schema.json"
    file.write_text('{"type": "integer"}')
    with http.server.HTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        for ref in (f"http://127.0.0.1:{server.server_port}/x", file.as_uri()):
            assert f"its schema refers to {ref}" in mismatch(5, {"$ref": ref})
        server.shutdown()
        thread.join()
    assert asked == []


@pytest.mark.parametrize(("ref", "said"), [("#/definitions/n", ""), ("#/definitions/none", "refers to /definitions/none"), ("#", "nested too deep")])
def test_a_schema_may_refer_to_itself_as_far_as_that_leads_somewhere(ref: str, said: str) -> None:
    found = mismatch(5, {"$ref": ref, "definitions": {"n": {"type": "integer"}}})
    assert (said in found) if said else found == ""
    assert mismatch("x", {"$ref": ref, "definitions": {"n": {"type": "integer"}}}) != ""
