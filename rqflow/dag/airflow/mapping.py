"""Dynamic task mapping, which rqflow does not have yet: `Operator.partial(…).expand(…)` becomes one task that stands in for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Partial:
    """A mapped task that waits for its `expand`."""

    def __init__(self, make: Callable[..., Any], kwargs: dict[str, Any]) -> None:
        """Keep what makes the task and its fixed arguments."""
        self._make, self._kwargs = make, kwargs

    def expand(self, **kwargs: Any) -> Any:
        """Make the one task; the lists that it would be mapped over are among its arguments."""
        return self._make(**{**self._kwargs, **kwargs})

    def expand_kwargs(self, kwargs: Any, **_: Any) -> Any:
        """Make the one task."""
        return self._make(**self._kwargs, expand_kwargs=kwargs)
