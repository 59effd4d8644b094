"""Variables as DAG files read them: `Variable.get`."""

from __future__ import annotations

import json
from typing import Any, Final

from rqflow.dag import outside

_ABSENT: Final = object()


class Variable:
    """Airflow's class of this name; only reading is supported."""

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
        return json.loads(value) if deserialize_json and isinstance(value, str) else value

    @classmethod
    def setdefault(cls, key: str, default: Any, description: str | None = None, deserialize_json: bool = False) -> Any:  # noqa: ARG003 (Airflow's)
        """Return the Variable, else the default, which is not stored."""
        return cls.get(key, default_var=default, deserialize_json=deserialize_json)

    @staticmethod
    def set(key: str, value: Any, *_: Any, **_more: Any) -> None:
        """Refuse: a DAG file or task cannot change Variables yet."""
        raise NotImplementedError(f"Variable.set({key!r}) is not supported yet; a task can leave values for later ones as XComs")
