"""One look through a tunnel after the other, and what they mean together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from rqflow import clock
from rqflow.deploy.tunnels import places, probes
from rqflow.deploy.tunnels.failures import FORBIDDEN, NOT_THERE, Failure, State, not_let
from rqflow.deploy.tunnels.places import Route
from rqflow.deploy.tunnels.probes import ProbeFailed
from rqflow.settings import Settings
from rqflow.tunnel import REDIS, Direction, Tunnel

#: A connection that moves so many bytes a second is not dead, though the answer to a question does not come.
_MOVES = 8192
#: Seconds between two looks at a database whose password is not known here: each leaves a line about an unfinished login in its log.
_SELDOM = 60.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at all services of a tunnel came to."""

    #: Seconds that the first one took to answer; None: it did not, or may not be asked.
    latency: float | None = None
    failure: Failure | None = None
    #: So many looks were in vain that the connection itself must be dead.
    is_dead: bool = False


class Prober:
    """Asks the services of one tunnel."""

    def __init__(self, tunnel: Tunnel, settings: Settings, routes: Sequence[Route], resolved: Settings) -> None:
        """`settings` are as they are written, `resolved` with the URLs told by sockets."""
        self._tunnel, self._settings, self._routes = tunnel, settings, routes
        self._seconds = settings.tunnels.probe_timeout.total_seconds()
        self._redis_url = resolved.redis.url if self._is_ours(settings.redis.url) else ""
        self._database_url = resolved.database.url if self._is_ours(settings.database.url) else ""
        self._silences = 0
        self._greet_at = 0.0

    def look(self, heard: Callable[[], Sequence[str]], moved: Callable[[], int] = lambda: 0) -> Seen:
        """Ask all services; `heard` tells what ssh has said meanwhile, `moved` how many bytes it has moved in its life."""
        began, failure, silent, latency, before = clock.monotonic(), None, False, None, moved()
        for route in self._routes:
            try:
                self._ask(route)
                latency = latency if latency is not None else clock.monotonic() - began
            except ProbeFailed as error:
                silent = silent or error.is_silent
                failure = self._meaning(route, error, heard())
        if silent and moved() - before >= _MOVES * self._seconds:
            return Seen(latency, Failure(State.SLOW, "it carries so much that our question waits"))
        self._silences = self._silences + 1 if silent else 0
        return Seen(latency, failure, is_dead=self._silences >= self._settings.tunnels.probe_count)

    def _is_ours(self, url: str) -> bool:
        """Tell whether a URL of ours names what goes through this tunnel, so that its password is known."""
        return places.goes_through(url) == self._tunnel.name if self._tunnel.direction is Direction.LOCAL else bool(url)

    def _ask(self, route: Route) -> None:
        if route.service == REDIS:
            user, _, password = self._redis_url.partition("://")[2].rpartition("@")[0].partition(":")
            probes.ask_redis(route.probe, unquote(user), unquote(password), self._seconds)
        elif self._database_url and self._tunnel.direction is Direction.LOCAL:
            probes.ask_database(self._database_url, self._seconds)
        elif self._database_url:
            from rqflow.store.engine import through_socket  # here: SQLAlchemy takes much memory, which tunnels of Redis alone do not need

            probes.ask_database(through_socket(self._database_url, str(route.probe)), self._seconds)
        elif clock.monotonic() >= self._greet_at:
            probes.greet_database(route.probe, self._seconds, speaks_first=route.address.port != 5432)
            self._greet_at = clock.monotonic() + _SELDOM

    def _meaning(self, route: Route, error: ProbeFailed, heard: Sequence[str]) -> Failure:
        if error.is_silent:
            return Failure(State.SILENT, str(error), "When that goes on, the connection is made anew.")
        said = "\n".join(heard)
        if FORBIDDEN.search(said):
            return not_let(self._tunnel, route.service)
        why = NOT_THERE.search(said)
        where = "here" if self._tunnel.direction is Direction.REMOTE else f"on {self._tunnel.target.host}"
        # sshd says no more of a socket that is not there than of one that it may not open.
        forbidden = " May sshd open sockets there (AllowTcpForwarding, AllowStreamLocalForwarding)?" if why and route.address.path else ""
        return Failure(State.SERVICE_AWAY, f"{error}{f' ({why[0]})' if why else ''}",
                       f"Does {route.service} run {where}, at {route.address}?{forbidden if self._tunnel.direction is Direction.LOCAL else ''}")
