"""Variables as DAG files read them: `Variable.get`."""

from __future__ import annotations

import json
from typing import Any, Final

from rqflow.dag import outside

_ABSENT: Final = object()
_ABSENT_TOO: Final = object()


class Variable:
    """Airflow's class of this name."""

    @staticmethod
    def get(key: str, default_var: Any = _ABSENT, deserialize_json: bool = False, default: Any = _ABSENT, **_: Any) -> Any:
        """Return the Variable `key`, parsed when `deserialize_json`, else the default; raises KeyError when there is neither."""
        try:
            value = outside.variables()[key]
        except KeyError:
            given = default_var if default is _ABSENT else default
            if given is _ABSENT:
                raise KeyError(outside.missing_variable(key)) from None
            return given
        return outside.parsed_variable(key, value) if deserialize_json else value

    get_variable_from_secrets = get

    @classmethod
    def setdefault(cls, key: str, default: Any, description: str | None = None, deserialize_json: bool = False) -> Any:
        """Return the Variable, else the default, which is stored then."""
        found = cls.get(key, default_var=_ABSENT_TOO, deserialize_json=deserialize_json)
        if found is not _ABSENT_TOO:
            return found
        cls.set(key, default, description, serialize_json=deserialize_json)
        return default

    @staticmethod
    def set(key: str, value: Any, description: str | None = None, serialize_json: bool = False, **_: Any) -> None:
        """Store a Variable, as JSON when `serialize_json`; only in a task."""
        outside.store_variable(str(key), json.dumps(value, indent=2) if serialize_json else str(value), description)

    @classmethod
    def update(cls, key: str, value: Any, serialize_json: bool = False, **_: Any) -> None:
        """Change a Variable; raises KeyError when there is none."""
        cls.get(key)
        cls.set(key, value, serialize_json=serialize_json)

    @staticmethod
    def delete(key: str, **_: Any) -> int:
        """Delete a Variable; return how many there were. Only in a task."""
        there = int(key in outside.variables())
        if there:
            outside.store_variable(str(key), None)
        return there
