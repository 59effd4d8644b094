"""Values of DAG files as JSON, for versions: the same value always becomes the same text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from enum import Enum
from functools import partial
from pathlib import PurePath
from typing import Any

from rqflow.dag.params import Param
from rqflow.dag.xcomarg import XComArg

_LONGEST_REPR = 500


def plain(value: Any) -> tuple[Any, bool]:
    """Return `value` as JSON can hold it, and whether nothing is lost by that.

    Tuples and sets become lists, paths text; a callable becomes {"callable": its name}, anything else its repr: those two only show
    what was there.
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, bool | int | float | str | None):
        return _scalar(value)
    if isinstance(value, Mapping):
        pairs = {str(key): plain(item) for key, item in value.items()}
        exact = all(isinstance(key, str) for key in value) and all(pair[1] for pair in pairs.values())
        return {key: pair[0] for key, pair in pairs.items()}, exact
    if isinstance(value, list | tuple):
        items = [plain(item) for item in value]
        return [item[0] for item in items], all(item[1] for item in items)
    if isinstance(value, set | frozenset):
        return plain(_in_order(value))[0], False
    return _thing(value)


def _scalar(value: Any) -> tuple[Any, bool]:
    if value is None or isinstance(value, bool):
        return value, True
    if isinstance(value, int):
        return int(value), True
    if isinstance(value, float):
        return (float(value), True) if math.isfinite(value) else (repr(value), False)
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "backslashreplace").decode(), False
    return str(value), True


def _thing(value: Any) -> tuple[Any, bool]:
    if isinstance(value, XComArg | PurePath):
        return str(value), True
    if isinstance(value, Param):
        return plain(value.value if value.has_value else None)
    if isinstance(value, datetime | date):
        return value.isoformat(), False
    if isinstance(value, timedelta):
        return value.total_seconds(), False
    if callable(value):
        return {"callable": callable_name(value)}, False
    return _shown(value), False


def _in_order(values: Iterable[Any]) -> list[Any]:
    return sorted(values, key=lambda item: (type(item).__name__, _shown(item)))


def _shown(value: Any) -> str:
    """Return the repr without addresses in memory, which differ from load to load."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))[:_LONGEST_REPR]


def callable_name(function: Any) -> str:
    """Return the qualified name of a function, class, method or partial."""
    if isinstance(function, partial):
        return callable_name(function.func)
    name = getattr(function, "__qualname__", type(function).__qualname__)
    module = getattr(function, "__module__", None)
    return f"{module}.{name}" if module else str(name)
