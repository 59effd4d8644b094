"""What requests share: made once for an application, found by a handler through `ThePart`."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry

from rqflow.deploy.asking import Asking
from rqflow.deploy.health import DB, REDIS, Health, look
from rqflow.deploy.metrics import Metrics
from rqflow.settings import Settings


class Parts:
    """The parts of one application."""

    def __init__(self, settings: Settings) -> None:
        """Open nothing."""
        self.settings = settings
        #: The metrics of the requests themselves; `metrics` has all others.
        self.registry = CollectorRegistry()
        self._probes = {name: Asking(name, self._look) for name in (DB, REDIS)}

    @cached_property
    def metrics(self) -> Metrics:
        """What collects all metrics."""
        return Metrics(self.settings)

    def probe(self, component: str, patience: float) -> Health:
        """Return how a component is. Raises NoAnswer after `patience` seconds."""
        return self._probes[component].ask(patience, component)

    def close(self) -> None:
        """Close what was opened."""
        if "metrics" in self.__dict__:
            self.metrics.close()

    def _look(self, component: str) -> Health:
        return look(self.settings, [component])[0]


def parts_of(request: Request) -> Parts:
    """Return the parts of the application that a request came to."""
    found: Parts = request.app.state.parts
    return found


ThePart = Annotated[Parts, Depends(parts_of)]
