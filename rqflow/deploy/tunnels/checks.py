"""What a doctor sees of tunnels: how each link is, and what answers through it now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rqflow.deploy import statedir
from rqflow.deploy.tunnels import places, status
from rqflow.deploy.tunnels.failures import State
from rqflow.deploy.tunnels.prober import Prober
from rqflow.exceptions import RqflowError
from rqflow.settings import Settings
from rqflow.tunnel import Direction, Tunnel

#: States in which ssh holds the connection, so that something may be asked through it.
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


def _ssh(tunnel: Tunnel, seen: status.TunnelStatus) -> Seen:
    way = "dials" if tunnel.direction is Direction.LOCAL else "lends out to"
    if seen.state in _CONNECTED:
        note = f"; {seen.error}" if seen.state is State.UNPROVEN else ""
        return Seen(check=f"tunnel {tunnel.name}", is_well=True, detail=f"{way} {tunnel.target}, connected{note}")
    said = seen.error or ("nobody keeps it up" if seen.state is State.STOPPED else "the first try is under way")
    since = f" since {seen.since:%Y-%m-%d %H:%M:%S} UTC" if seen.since else ""
    return Seen(check=f"tunnel {tunnel.name}", is_well=False, detail=f"{way} {tunnel.target}: {seen.state}{since}: {said}", remedy=seen.remedy)
