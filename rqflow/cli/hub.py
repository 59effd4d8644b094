"""Where a command asks: this hub itself, or with --server a hub elsewhere, over its REST API. The same operations either way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from functools import cached_property, partial
from typing import Protocol, TypeVar

from rqflow import clock, settings
from rqflow.api.client import Server
from rqflow.api.dags import MOST
from rqflow.api.hub import Source, meet
from rqflow.api.operation import Operation, Page, perform
from rqflow.broker.broker import Broker
from rqflow.cli.app import App, who
from rqflow.deploy import background, statedir
from rqflow.deploy.live import Live, open_live, resolved
from rqflow.deploy.services import open_database
from rqflow.exceptions import UsageError
from rqflow.security.roles import Person
from rqflow.store.engine import Engine

I = TypeVar("I")  # noqa: E741 - input and output
O = TypeVar("O")  # noqa: E741
T = TypeVar("T")


class Ask(Protocol):
    """Has an operation carried out, and returns what it gives; raises what it raises."""

    def __call__(self, wanted: Operation[I, O], asked: I, /) -> O:
        """Carry it out."""


@contextmanager
def asking(app: App, *, carries: bool = True) -> Iterator[Ask]:
    """Give what carries out operations for the person at this command line: at the hub an administrator, at a server whose token it is.

    On the embedded default what is set free here is carried out by processes that are started for it, if it `carries`.
    """
    if app.server:
        with closing(Server(app.server, settings.server_token())) as server:
            yield server.ask
        return
    with ExitStack() as stack:
        source = _Here(app, stack).source(carries=carries)
        yield partial(perform, stack.enter_context(meet(source, Person.local(who()))))


class _Here:
    """The hub of this home; its two halves are opened when an operation asks for them, and closed with `stack`."""

    def __init__(self, app: App, stack: ExitStack) -> None:
        self._app, self._stack = app, stack

    @cached_property
    def _live(self) -> Live:
        return self._stack.enter_context(open_live(self._app.settings, client_name="rqflow"))

    @cached_property
    def _engine(self) -> Engine:
        return self._stack.enter_context(open_database(self._app.settings))

    def _carry(self, _: Broker) -> None:
        if self._live.is_embedded:
            background.ensure(self._live, self._app.file)

    def source(self, *, carries: bool) -> Source:
        """Return what a hub is met by."""
        machine = statedir.this_machine()
        filled = resolved(self._app.settings, statedir.locate(self._app.settings, machine), machine)
        return Source(settings=filled, engine=lambda: self._engine, broker=lambda: nullcontext(self._live.broker), needs_live=True,
                      **({"carry": self._carry} if carries else {}))


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


def zone_name(app: App) -> str:
    """Return the name of the zone in which this person reads times, as operations take it. Raises UsageError for one that is not known."""
    return clock.local_zone() if app.tz.lower() == "local" else str(app.zone)
