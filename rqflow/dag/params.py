"""Params: values of a DAG that may be given anew at each trigger, with a check of what is given."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, time
from typing import Any, Final

from rqflow.dag import patterns
from rqflow.exceptions import UsageError


class _NotSet:
    """Says that a param has no default and must be given."""

    def __repr__(self) -> str:
        return "<no default>"


NOTSET: Final = _NotSet()
#: Characters of a file that is looked through for the order of its params.
_LONGEST = 200_000


class Param:
    """A param with a description and a schema: `Param(5, type="integer", minimum=1)`; without a default it must be given."""

    def __init__(self, default: Any = NOTSET, description: str | None = None, **kwargs: Any) -> None:
        """Keep the default, the description and the keywords of the schema, which `schema=` may give as a whole."""
        self.value = default
        self.description = description
        self.schema: dict[str, Any] = {**(kwargs.pop("schema", None) or {}), **kwargs}

    @property
    def has_value(self) -> bool:
        """Whether there is a default."""
        return self.value is not NOTSET

    def resolve(self, value: Any = NOTSET, suppress_exception: bool = False) -> Any:
        """Return `value`, or the default, after the check; raises ValueError, unless told not to."""
        value = self.value if value is NOTSET else value
        wrong = "no value was given" if value is NOTSET else mismatch(value, self.schema)
        if wrong and not suppress_exception:
            raise ValueError(wrong)
        return None if value is NOTSET else value

    def dump(self) -> dict[str, Any]:
        """Return the param as plain values, as a version keeps it."""
        about = {"description": self.description} if self.description else {}
        return {**about, **({} if self.has_value else {"required": True}), "schema": self.schema}


def mismatch(value: Any, schema: Mapping[str, Any]) -> str:
    """Return what is wrong with `value` by `schema`, naming the rule and where in the value it is broken; empty when it fits."""
    if not schema:
        return ""
    from referencing.exceptions import Unresolvable  # here: see _validator

    try:
        found = sorted(_validator(schema).iter_errors(value), key=lambda error: (len(error.absolute_path), str(error.validator)))
    except Unresolvable as lost:
        return f"cannot be checked: its schema refers to {lost.ref}, and a schema must have in itself all that it refers to"
    except RecursionError:
        return "cannot be checked: it, or what its schema refers to, is nested too deep"
    except UsageError as refused:
        return f"cannot be checked: {refused.message}"
    if not found:
        return ""
    error = found[0]
    where = error.json_path.removeprefix("$")
    return f"{f'{where}: ' if where else ''}{error.instance!r} does not fit {error.validator}: {error.validator_value!r}"


def schema_problem(schema: Mapping[str, Any]) -> str:
    """Return why `schema` is no JSON Schema; empty when it is one."""
    from jsonschema import SchemaError  # here: see _validator

    try:
        _validator({}).check_schema(schema)
    except SchemaError as error:
        where = error.json_path.removeprefix("$.")
        return f"{where}: {error.message}" if where != "$" else str(error.message)
    return ""


def _validator(schema: Mapping[str, Any]) -> Any:
    """Return what holds values against a schema, by the draft that Airflow takes; a tuple counts as an array."""
    # Here: takes 60 ms to import, and few DAGs have params with a schema.
    from jsonschema import Draft7Validator, FormatChecker, validators
    from referencing import Registry

    types = Draft7Validator.TYPE_CHECKER.redefine_many({
        "array": lambda _, value: isinstance(value, list | tuple), "object": lambda _, value: isinstance(value, Mapping)})
    formats = FormatChecker()
    # The library's own checks of these need another library each.
    formats.checks("date-time", raises=ValueError)(_is_moment)
    formats.checks("time", raises=ValueError)(lambda value: not isinstance(value, str) or bool(time.fromisoformat(value)) or True)
    # An empty registry: the library would fetch what a schema refers to elsewhere, from the hub, whoever wrote the schema.
    return validators.extend(Draft7Validator, _PATIENT, type_checker=types)(schema, format_checker=formats, registry=Registry())


def _pattern(validator: Any, pattern: str, value: Any, _: object) -> Iterator[Any]:
    """Do what the library does for the keyword `pattern`, with a limit of time."""
    from jsonschema import ValidationError  # here: see _validator

    if validator.is_type(value, "string") and not patterns.is_in(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, schemas: Mapping[str, Any], value: Any, _: object) -> Iterator[Any]:
    """The same for `patternProperties`."""
    if validator.is_type(value, "object"):
        names = list(value)
        for pattern, schema in schemas.items():
            for place in patterns.found_in(pattern, names):
                yield from validator.descend(value[names[place]], schema, path=names[place], schema_path=pattern)


def _additional_properties(validator: Any, wanted: Any, value: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    """The same for `additionalProperties`, which are those that no pattern has."""
    from jsonschema import Draft7Validator  # here: see _validator

    if validator.is_type(value, "object"):
        names = list(value)
        known = {names[place] for pattern in schema.get("patternProperties", ()) for place in patterns.found_in(pattern, names)}
        rest = {name: one for name, one in value.items() if name not in known}
        yield from Draft7Validator.VALIDATORS["additionalProperties"](validator, wanted, rest, {**schema, "patternProperties": {}})


#: Keywords with regular expressions: an author's must not keep the hub busy for ever.
_PATIENT = {"pattern": _pattern, "patternProperties": _pattern_properties, "additionalProperties": _additional_properties}


def _is_moment(value: Any) -> bool:
    """Tell whether a text is a date and a time with its zone (RFC 3339); raises ValueError when it is none at all."""
    return not isinstance(value, str) or (len(value) > len("2026-01-01") and datetime.fromisoformat(value).tzinfo is not None)


def problems(params: Mapping[str, Any], *, is_scheduled: bool) -> list[str]:
    """Return what is wrong with the params of a DAG as its author wrote them: schemas that are none, and defaults that do not do.

    A DAG that a schedule starts must have a default for each, and one that fits.
    """
    found = []
    for name, param in params.items():
        if not isinstance(param, Param) or not (param.schema or not param.has_value):
            continue
        if said := schema_problem(param.schema):
            found.append(f"param {name}: its schema is no JSON Schema: {said}")
        elif is_scheduled and not param.has_value:
            found.append(f"param {name} has no default, which a DAG with a schedule needs")
        elif is_scheduled and (said := mismatch(param.value, param.schema)):
            found.append(f"param {name}: its default {said}")
    return found


def values_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of params, plain ones and defaults; what has no default is left out."""
    plain = {name: param.value if isinstance(param, Param) else param for name, param in params.items()}
    return {name: value for name, value in plain.items() if value is not NOTSET}


def specs_of(params: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return description and schema of those params that have one, as a version keeps them."""
    return {name: param.dump() for name, param in params.items() if isinstance(param, Param)}


def with_given(defaults: Mapping[str, Any], specs: Mapping[str, Any], given: Mapping[str, Any], *, by_hand: bool = False) -> dict[str, Any]:
    """Return the params of a run: `given` at the trigger laid over `defaults`.

    Raises UsageError naming each param that does not fit its schema, or that must be given and is not. Defaults are looked at in a run
    started `by_hand` alone: those of a DAG with a schedule are when its file is loaded.
    """
    values = {**defaults, **given}
    checked = values if by_hand else given
    wrong = [f"{name}: {said}" for name, spec in specs.items() if name in checked and (said := mismatch(checked[name], spec["schema"]))]
    wrong += [f"{name}: it has no default and must be given" for name, spec in specs.items() if spec.get("required") and name not in given]
    if wrong:
        raise UsageError("params do not fit: " + "; ".join(sorted(wrong)), hint="`rqflow dag show DAG -o json` shows what each may be.")
    return values


def in_order(source: str, names: Iterable[str]) -> list[str]:
    """Return the names of params in the order in which the text of a DAG file has them, those that it does not have last.

    A version keeps its params sorted. They stand in the file as the keys of a dict, or as arguments of a call or of a function: what names most of
    them counts, and the first of these.
    """
    wanted = list(dict.fromkeys(names))
    if len(wanted) < 2 or len(source) > _LONGEST:
        return wanted
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return wanted
    lists = ([name for name in _names(node) if name in wanted] for node in ast.walk(tree))
    found = max(lists, key=len, default=[])
    return [*dict.fromkeys([*found, *wanted])]


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Dict):
        return [str(key.value) for key in node.keys if isinstance(key, ast.Constant)]
    if isinstance(node, ast.Call):
        return [keyword.arg for keyword in node.keywords if keyword.arg]
    return [one.arg for one in [*node.args, *node.kwonlyargs]] if isinstance(node, ast.arguments) else []
