"""Who is logged in of those whose tabs listen: one question for all of them, once a second at most, while they ask for pieces of pages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping

from starlette.concurrency import run_in_threadpool

from rqflow import clock, logs
from rqflow.actions.people import signing_in
from rqflow.exceptions import RqflowError
from rqflow.security.roles import Person
from rqflow.store.engine import Engine

logger = logging.getLogger(__name__)

#: Seconds for which an answer counts: whose session ends gets what others look at for so long.
FRESH = 1.0


class LoggedIn:
    """People by the digests of their sessions. Used in the event loop alone."""

    def __init__(self, engine: Callable[[], Engine], digests: Callable[[], Collection[str]]) -> None:
        """Ask nothing yet; `digests` gives those that there are."""
        self._engine, self._digests = engine, digests
        self._people: Mapping[str, Person] = {}
        self._asked: frozenset[str] = frozenset()
        self._at = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    async def person(self, digest: str) -> Person | None:
        """Return who is logged in by a session; None: that is not known here, and has to be found out as for any other request."""
        if digest not in self._asked or clock.monotonic() - self._at > FRESH:
            if digest not in self._digests():
                return None
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask())
            # Whoever goes away ends nothing that others wait for.
            await asyncio.shield(self._asking)
        return self._people.get(digest)

    async def _ask(self) -> None:
        asked, at = frozenset(self._digests()), clock.monotonic()
        try:
            self._people = await run_in_threadpool(self._look, asked)
        except RqflowError as error:
            self._people = {}
            logger.debug("who is logged in is asked for each alone: %s", error, extra=logs.context("sessions_unknown"))
        finally:
            self._asked, self._at, self._asking = asked, at, None

    def _look(self, digests: Collection[str]) -> Mapping[str, Person]:
        return signing_in.by_sessions(self._engine(), digests)
