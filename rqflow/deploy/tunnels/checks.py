"""What a doctor sees of tunnels: how each link is, and what answers through it now."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rqflow.deploy import statedir
from rqflow.deploy.tunnels import places, status
from rqflow.deploy.tunnels.failures import State
from rqflow.deploy.tunnels.prober import Prober
from rqflow.exceptions import RqflowError
from rqflow.settings import Settings
from rqflow.tunnel import Direction, Tunnel

#: Seconds that a socket may take to be connected; and states in which ssh holds the connection, so that something may be asked through it.
_PATIENCE = 5.0
_CONNECTED = frozenset({State.UP, State.UNPROVEN, State.SERVICE_AWAY})


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What one look came to."""

    check: str
    is_well: bool
    detail: str
    remedy: str = ""


def look(settings: Settings) -> Iterator[Seen]:
    """Look at each tunnel: ssh first, then each service through it. Changes nothing."""
    yield from map(_end, places.landed(settings))
    machine = statedir.this_machine()
    for tunnel in settings.tunnels.named.values():
        try:
            state = statedir.locate(settings, machine)
            routes = places.routes(tunnel, settings, state, machine, "~")
        except RqflowError as error:
            yield Seen(check=f"tunnel {tunnel.name}", is_well=False, detail=error.message, remedy=error.hint)
            continue
        seen = status.told(tunnel, places.place(state, machine, tunnel.name))
        yield _ssh(tunnel, seen)
        if seen.state not in _CONNECTED or seen.state is State.UNPROVEN:
            continue
        resolved = places.resolve(settings, state, machine)
        for route in routes:
            answer = Prober(tunnel, settings, [route], resolved).look(list)
            check, failure = f"tunnel {tunnel.name}: {route.service}", answer.failure
            if failure is None and answer.latency is not None:
                yield Seen(check=check, is_well=True, detail=f"answers through it in {answer.latency * 1000:.0f} ms")
            elif failure is not None:
                yield Seen(check=check, is_well=False, detail=failure.error, remedy=failure.remedy)


def _end(landing: Path) -> Seen:
    """See whether the tunnel of another machine, which ends here, is there."""
    check = f"tunnel {landing.parent.name}: {landing.stem}"
    with socket.socket(socket.AF_UNIX) as own:
        own.settimeout(_PATIENCE)
        try:
            own.connect(str(landing))
        except OSError as error:
            return Seen(check=check, is_well=False, detail=f"{landing}: {error.strerror or error}", remedy=status.whose(landing))
    return Seen(check=check, is_well=True, detail=f"{places.owner(landing) or 'somebody'} lends it to us")


def _ssh(tunnel: Tunnel, seen: status.TunnelStatus) -> Seen:
    way = "dials" if tunnel.direction is Direction.LOCAL else "lends out to"
    if seen.state in _CONNECTED:
        note = f"; {seen.error}" if seen.state is State.UNPROVEN else ""
        return Seen(check=f"tunnel {tunnel.name}", is_well=True, detail=f"{way} {tunnel.target}, connected{note}")
    said = seen.error or ("nobody keeps it up" if seen.state is State.STOPPED else "the first try is under way")
    since = f" since {seen.since:%Y-%m-%d %H:%M:%S} UTC" if seen.since else ""
    return Seen(check=f"tunnel {tunnel.name}", is_well=False, detail=f"{way} {tunnel.target}: {seen.state}{since}: {said}", remedy=seen.remedy)
