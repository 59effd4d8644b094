"""The context of the task that this process runs: `get_current_context()`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rqflow.dag.airflow.exceptions import AirflowException

#: For annotations.
Context = dict

_current: list[Mapping[str, Any]] = []


@contextmanager
def current(context: Mapping[str, Any]) -> Iterator[None]:
    """Make `context` the current one inside of the block."""
    _current.append(context)
    try:
        yield
    finally:
        _current.pop()


def get_current_context() -> Mapping[str, Any]:
    """Return the context of the running task; raises AirflowException outside of one."""
    if not _current:
        raise AirflowException("get_current_context() has nothing to return: no task is running here")
    return _current[-1]
