"""Params: values of a DAG that may be given anew at each trigger, with a check of what is given."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from rqflow.exceptions import UsageError


class _NotSet:
    """Says that a param has no default and must be given."""

    def __repr__(self) -> str:
        return "<no default>"


NOTSET: Final = _NotSet()

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "array": (list, tuple), "object": Mapping, "null": type(None),
}


def _is_type(value: Any, name: Any) -> bool:
    names = [name] if isinstance(name, str) else list(name)
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, _TYPES.get(one, object)) for one in names)


#: {keyword of JSON Schema: (value, what the schema says) -> whether it holds}. Other keywords are kept and not checked.
_CHECKS: dict[str, Callable[[Any, Any], bool]] = {
    "type": _is_type,
    "enum": lambda value, allowed: value in allowed,
    "const": lambda value, wanted: bool(value == wanted),
    "minimum": lambda value, least: not isinstance(value, int | float) or value >= least,
    "maximum": lambda value, most: not isinstance(value, int | float) or value <= most,
    "exclusiveMinimum": lambda value, least: not isinstance(value, int | float) or value > least,
    "exclusiveMaximum": lambda value, most: not isinstance(value, int | float) or value < most,
    "minLength": lambda value, least: not isinstance(value, str) or len(value) >= least,
    "maxLength": lambda value, most: not isinstance(value, str) or len(value) <= most,
    "pattern": lambda value, pattern: not isinstance(value, str) or re.search(pattern, value) is not None,
}


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
    """Return what is wrong with `value` by `schema`; empty when it fits."""
    for keyword, wanted in schema.items():
        if keyword in _CHECKS and not _CHECKS[keyword](value, wanted):
            return f"{value!r} does not fit {keyword}: {wanted!r}"
    return ""


def values_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of params, plain ones and defaults; what has no default is left out."""
    plain = {name: param.value if isinstance(param, Param) else param for name, param in params.items()}
    return {name: value for name, value in plain.items() if value is not NOTSET}


def specs_of(params: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return description and schema of those params that have one, as a version keeps them."""
    return {name: param.dump() for name, param in params.items() if isinstance(param, Param)}


def with_given(defaults: Mapping[str, Any], specs: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params of a run: `given` at the trigger laid over `defaults`.

    Raises UsageError naming each param that does not fit its schema, or that must be given and is not.
    """
    values = {**defaults, **given}
    wrong = [f"{name}: {said}" for name, spec in specs.items() if name in given and (said := mismatch(given[name], spec["schema"]))]
    wrong += [f"{name}: it has no default and must be given" for name, spec in specs.items() if spec.get("required") and name not in given]
    if wrong:
        raise UsageError("params do not fit: " + "; ".join(sorted(wrong)))
    return values
