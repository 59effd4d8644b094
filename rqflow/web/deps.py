"""What requests share: made once for an application, found by a handler through `ThePart`, `TheHub` or `TheRun`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry

from rqflow.api.hub import Hub, Source, meet
from rqflow.deploy.asking import Asking
from rqflow.deploy.health import DB, REDIS, Health, look
from rqflow.deploy.lasting import Lasting
from rqflow.deploy.metrics import Metrics
from rqflow.exceptions import NotPermitted
from rqflow.security.roles import Person
from rqflow.settings import Settings
from rqflow.store.runs import RunRecord
from rqflow.web import signin
from rqflow.web.logged_in import LoggedIn
from rqflow.web.news import Newsroom
from rqflow.web.pieces import Pieces
from rqflow.web.throttle import Throttle


class NotLoggedIn(NotPermitted):
    """Nobody who has logged in asks."""


class Parts:
    """The parts of one application."""

    def __init__(self, settings: Settings) -> None:
        """Open nothing."""
        self.settings = settings
        #: The metrics of the requests themselves; `metrics` has all others.
        self.registry = CollectorRegistry()
        self.lasting = Lasting(settings, client_name="rqflow-web")
        self.throttle = Throttle()
        #: What tells pages what changes.
        self.newsroom = Newsroom(self.lasting)
        #: Pieces of pages that were made a moment ago, and who of those whose tabs listen is logged in.
        self.pieces = Pieces(self.newsroom, LoggedIn(self.lasting.engine, lambda: self.newsroom.sessions), settings.webserver)
        self._probes = {name: Asking(name, self._look) for name in (DB, REDIS)}

    @cached_property
    def metrics(self) -> Metrics:
        """What collects all metrics."""
        return Metrics(self.settings)

    @property
    def source(self) -> Source:
        """Where hubs come from. Raises ConfigError."""
        lasting = self.lasting
        return Source(settings=lasting.settings, engine=lasting.engine, broker=lasting.broker, carry=lasting.carry)

    def probe(self, component: str, patience: float) -> Health:
        """Return how a component is. Raises NoAnswer after `patience` seconds."""
        return self._probes[component].ask(patience, component)

    def close(self) -> None:
        """Close what was opened."""
        if "metrics" in self.__dict__:
            self.metrics.close()
        self.newsroom.close()
        self.lasting.close()

    def _look(self, component: str) -> Health:
        return look(self.settings, [component])[0]


def parts_of(request: Request) -> Parts:
    """Return the parts of the application that a request came to."""
    found: Parts = request.app.state.parts
    return found


ThePart = Annotated[Parts, Depends(parts_of)]


def person_of(request: Request, parts: ThePart) -> Person:
    """Return who asks. Raises NotLoggedIn, StoreError."""
    if (known := getattr(request.state, "person", None)) is not None:  # who asks for a piece of a page was asked for many tabs at once
        return known  # type: ignore[no-any-return]
    found = signin.who(request, parts.lasting.settings, parts.lasting.engine())
    if found is None:
        raise NotLoggedIn("nobody is logged in" if "authorization" not in request.headers else "that token is not known, or no longer valid",
                          hint="Log in, or send `Authorization: Bearer TOKEN`; `rqflow token create` makes one.")
    request.state.person = found
    return found


ThePerson = Annotated[Person, Depends(person_of)]


def hub_of(parts: ThePart, person: ThePerson) -> Iterator[Hub]:
    """Give the hub as the person who asks meets it."""
    with meet(parts.source, person) as hub:
        yield hub


TheHub = Annotated[Hub, Depends(hub_of)]


def visible_run(hub: Hub, run_key: str) -> RunRecord:
    """Return a run that the person may see. Raises RunNotFound, also for one that is not to be seen."""
    return hub.run(run_key)


async def filled_of(request: Request) -> Mapping[str, str]:
    """Return the fields of a form that was sent, as text; the last one of a name counts."""
    form = await request.form(max_files=0, max_fields=2000)
    return {name: value for name, value in form.items() if isinstance(value, str)}


Filled = Annotated[Mapping[str, str], Depends(filled_of)]
