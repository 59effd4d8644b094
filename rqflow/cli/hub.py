"""Where a command asks: this hub itself, or with --server a hub elsewhere, over its REST API. The same operations either way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Protocol, TypeVar

from rqflow import settings
from rqflow.api.client import Server
from rqflow.api.dags import MOST
from rqflow.api.hub import Source, meet
from rqflow.api.operation import Operation, Page, perform
from rqflow.broker.broker import Broker
from rqflow.cli.app import App, who
from rqflow.deploy import background
from rqflow.deploy.services import Services, open_services
from rqflow.exceptions import UsageError
from rqflow.security.roles import Person

I = TypeVar("I")  # noqa: E741 - input and output
O = TypeVar("O")  # noqa: E741
T = TypeVar("T")


class Ask(Protocol):
    """Has an operation carried out, and returns what it gives; raises what it raises."""

    def __call__(self, wanted: Operation[I, O], asked: I, /) -> O:
        """Carry it out."""


@contextmanager
def asking(app: App) -> Iterator[Ask]:
    """Give what carries out operations for the person at this command line: at the hub an administrator, at a server whose token it is."""
    if app.server:
        with closing(Server(app.server, settings.server_token())) as server:
            yield server.ask
        return
    with open_services(app.settings) as services, meet(source_of(app, services), Person.local(who())) as hub:
        yield partial(perform, hub)


def source_of(app: App, services: Services) -> Source:
    """Return the hub of open services; on the embedded default what is set free is carried out by processes that are started for it."""
    @contextmanager
    def broker() -> Iterator[Broker]:
        yield services.broker

    def carry(_: Broker) -> None:
        if services.is_embedded:
            background.ensure(services, app.file)

    return Source(settings=services.settings, engine=lambda: services.engine, broker=broker, carry=carry)


def paged(ask: Callable[[str | None, int], Page[T]], most: int | None) -> list[T]:
    """Return all that a list has, or its first `most`, page by page: `ask` gives the page of so many after a place."""
    found: list[T] = []
    after = None
    while True:
        some = min(MOST, most - len(found)) if most is not None else MOST
        page = ask(after, some)
        found += page.items
        after = page.next
        if after is None or (most is not None and len(found) >= most):
            return found


def refuse_server(app: App, why: str) -> None:
    """Raise UsageError for a command that works at the hub alone, with --server."""
    if app.server:
        raise UsageError(f"this does not go with --server: {why}", hint="Call it at the hub.")
