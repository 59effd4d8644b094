"""The form in which a person gives values to the params of a DAG: from their JSON Schemas to fields, and from what was filled in to values. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rqflow.dag.params import in_order
from rqflow.exceptions import UsageError

#: Input types of HTML for formats of JSON Schema.
_FORMATS = {"date": "date", "time": "time", "email": "email", "uri": "url"}
#: A text that is longer gets a field of several lines.
_LINE = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class FormField:
    """One field of a form. `kind`: text, lines, number, yes_no, choice, list (a line an item), json, or an input type of HTML for texts."""

    name: str
    kind: str
    #: What stands in it at first, as text.
    value: str = ""
    about: str = ""
    is_required: bool = False
    may_be_null: bool = False
    choices: tuple[str, ...] = ()
    #: Attributes of its input: min, max, step, maxlength, pattern.
    limits: Mapping[str, str] = field(default_factory=dict)

    @property
    def element(self) -> str:
        """Name of its input."""
        return f"param.{self.name}"


def fields_of(defaults: Mapping[str, Any], specs: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any] | None = None, *,
              source: str = "") -> list[FormField]:
    """Return a field for each param, in the order of the DAG file whose text is `source`, with the value that was `given` last, else its default."""
    values = {**defaults, **{name: value for name, value in (given or {}).items() if name in defaults or name in specs}}
    return [_field(name, values.get(name), specs.get(name, {}), has_value=name in values) for name in in_order(source, [*defaults, *specs])]


def _field(name: str, value: Any, spec: Mapping[str, Any], *, has_value: bool) -> FormField:
    schema: Mapping[str, Any] = spec.get("schema") or {}
    types = _types(schema, value)
    # Of a param without default and type nothing is known, but that it must be given.
    may_be_null = "null" in types and (has_value or bool(schema.get("type")))
    kind = _kind([one for one in types if one != "null"], schema, value)
    about = str(spec.get("description") or schema.get("description") or "")
    choices = tuple(_text(one) for one in schema["enum"] if one is not None) if kind == "choice" else ()
    return FormField(name=name, kind=kind, value="" if not has_value or value is None else _shown(value, kind), about=about, may_be_null=may_be_null,
                     is_required=not may_be_null and not has_value, choices=choices, limits=_limits(schema, kind, is_whole="number" not in types))


def _types(schema: Mapping[str, Any], value: Any) -> list[str]:
    """Return the types that the schema allows, else that of the default."""
    given = schema.get("type")
    if given is not None:
        return [str(one) for one in given] if isinstance(given, list) else [str(given)]
    if value is None:
        return ["string", "null"]
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array")):
        if isinstance(value, kind):
            return [name]
    return ["object"]


def _kind(types: Sequence[str], schema: Mapping[str, Any], value: Any) -> str:
    if isinstance(schema.get("enum"), list):
        return "choice"
    if len(types) != 1:
        return "json" if types else "text"
    if types[0] == "string":
        is_long = isinstance(value, str) and ("\n" in value or len(value) > _LINE)
        return "lines" if is_long or schema.get("format") == "multiline" else _FORMATS.get(str(schema.get("format")), "text")
    if types[0] == "array":
        items = schema.get("items") or {}
        of_texts = items.get("type") == "string" if items else all(isinstance(one, str) for one in value or ())
        return "list" if of_texts and all("\n" not in str(one) for one in value or ()) else "json"
    return {"boolean": "yes_no", "integer": "number", "number": "number"}.get(types[0], "json")


def _limits(schema: Mapping[str, Any], kind: str, *, is_whole: bool) -> dict[str, str]:
    if kind == "number":
        found = {"min": schema.get("minimum"), "max": schema.get("maximum"), "step": schema.get("multipleOf", "1" if is_whole else "any")}
    else:
        found = {"minlength": schema.get("minLength"), "maxlength": schema.get("maxLength"), "pattern": schema.get("pattern")}
    return {name: str(value) for name, value in found.items() if value is not None}


def _shown(value: Any, kind: str) -> str:
    if kind == "list":
        return "\n".join(str(one) for one in value)
    if kind == "json":
        return json.dumps(value, indent=2, ensure_ascii=False)
    return _text(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def read(filled: Mapping[str, str], defaults: Mapping[str, Any], specs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return {name: value} of what was filled in; an empty field of a param without a value is left out, of one that may be null it is null.

    Raises UsageError for what is no number, or no JSON; whether values fit the schemas is not asked here.
    """
    values: dict[str, Any] = {}
    for one in fields_of(defaults, specs):
        if one.element not in filled:
            continue
        text = filled[one.element].replace("\r\n", "\n")
        if text.strip() == "" and one.may_be_null:
            values[one.name] = None
        elif text == "" and one.kind not in {"text", "lines", "list"}:
            if one.is_required:
                raise UsageError(f"{one.name}: it needs a value")
        elif text == "" and one.is_required:
            raise UsageError(f"{one.name}: it needs a value")
        else:
            values[one.name] = _value(one, text, specs.get(one.name, {}).get("schema") or {})
    return values


def _value(one: FormField, text: str, schema: Mapping[str, Any]) -> Any:
    if one.kind == "list":
        return [line for line in text.split("\n") if line.strip()]
    if one.kind == "choice":
        return next((choice for choice in schema["enum"] if _text(choice) == text), text)
    if one.kind == "yes_no":
        return text == "true"
    if one.kind not in {"number", "json"}:
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{one.name}: {text[:50]!r} is no {'number' if one.kind == 'number' else 'JSON'}") from error
    if one.kind == "number" and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise UsageError(f"{one.name}: {text[:50]!r} is no number")
    return value
