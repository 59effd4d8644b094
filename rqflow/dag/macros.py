"""The `macros` of templates, and the filters for dates.

Modules are shown through a list of names, so that no template reaches what a module happens to import.
"""

from __future__ import annotations

import importlib
import json as json_module
import random as random_module
from collections.abc import Callable
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from rqflow import clock


class Shown:
    """The listed names of a module, which is imported when one of them is asked for."""

    def __init__(self, module: str, names: str) -> None:
        """Show `names`, separated by blanks, of `module`; a name that is a submodule is shown with all its public names."""
        self._module = module
        self._names = names.split()

    def __getattr__(self, name: str) -> Any:
        """Return a name of the module."""
        if name.startswith("_") or name not in self._names:
            raise AttributeError(self.refusal(name))
        module = importlib.import_module(self._module)
        if hasattr(module, name) and not hasattr(getattr(module, name), "__spec__"):
            return getattr(module, name)
        inner = importlib.import_module(f"{self._module}.{name}")
        public = (key for key, value in vars(inner).items() if not key.startswith("_") and not hasattr(value, "__spec__"))
        return Shown(inner.__name__, " ".join(public))

    def refusal(self, name: str) -> str:
        """Return why a name that is not listed cannot be used."""
        return f"{self._module}.{name} cannot be used in templates; there are {', '.join(self._names[:20])}"

    def __repr__(self) -> str:
        """Return the module's name."""
        return f"<{self._module}>"


random = random_module.random
time = Shown("time", "time gmtime localtime mktime strftime strptime asctime ctime")
uuid = Shown("uuid", "UUID uuid1 uuid3 uuid4 uuid5 NAMESPACE_DNS NAMESPACE_URL NAMESPACE_OID NAMESPACE_X500")
dateutil = Shown("dateutil", "parser relativedelta rrule tz easter utils")
json = SimpleNamespace(dumps=json_module.dumps, loads=json_module.loads)


def ds_add(ds: str, days: int) -> str:
    """Return the date `ds`, YYYY-MM-DD, plus `days`, which may be negative."""
    return (datetime.strptime(str(ds), "%Y-%m-%d") + timedelta(days=days)).strftime("%Y-%m-%d")  # noqa: DTZ007 (a date has no zone)


def ds_format(ds: str, input_format: str, output_format: str) -> str:
    """Return the date `ds`, written by `input_format` of strptime, by `output_format` of strftime."""
    return datetime.strptime(str(ds), input_format).strftime(output_format)  # noqa: DTZ007


def datetime_diff_for_humans(dt: Any, since: datetime | None = None) -> str:
    """Return how long before or after `since` (now, when None) the date `dt` is, in words: "3 days ago"."""
    reference = since or clock.utcnow()
    at = dt if isinstance(dt, datetime) else datetime.fromisoformat(str(dt))
    seconds = (at - reference.astimezone(at.tzinfo)).total_seconds() if at.tzinfo else (at - reference.replace(tzinfo=None)).total_seconds()
    size, unit = next((n, name) for n, name in _SPANS if abs(seconds) >= n or n == 1)
    count = int(abs(seconds) // size)
    words = f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    if since is not None:
        return f"{words} after" if seconds > 0 else f"{words} before"
    return f"in {words}" if seconds > 0 else f"{words} ago"


_SPANS = ((31_536_000, "year"), (2_592_000, "month"), (604_800, "week"), (86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def _date(pattern: str) -> Callable[[Any], str | None]:
    """Return a filter that writes a date by `pattern`; None stays None, as Airflow's filters have it."""

    def write(value: datetime | None) -> str | None:
        return None if value is None else value.strftime(pattern)

    return write


def ts(value: datetime | None) -> str | None:
    """Return ISO 8601, like 2018-01-01T00:00:00+00:00."""
    return None if value is None else value.isoformat()


#: The filters that Airflow adds to Jinja2's.
FILTERS: dict[str, Callable[..., Any]] = {
    "ds": _date("%Y-%m-%d"),
    "ds_nodash": _date("%Y%m%d"),
    "ts": ts,
    "ts_nodash": _date("%Y%m%dT%H%M%S"),
    "ts_nodash_with_tz": lambda value: None if value is None else value.isoformat().replace("-", "").replace(":", ""),
}

#: What a template sees as `macros`.
NAMESPACE = SimpleNamespace(
    dateutil=dateutil, datetime=datetime, datetime_diff_for_humans=datetime_diff_for_humans, ds_add=ds_add, ds_format=ds_format, json=json,
    random=random, time=time, timedelta=timedelta, uuid=uuid,
)  # fmt: skip
