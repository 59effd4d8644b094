"""How tunnels are, as their keepers tell it: one small file each, written at one stroke and read by whoever asks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from rqflow import process
from rqflow.deploy import flock
from rqflow.deploy.tunnels.failures import WORKING, State
from rqflow.deploy.tunnels.places import Place
from rqflow.tunnel import Tunnel

_UP = "`rqflow up`, or `rqflow tunnel up {name}`, keeps it up."


@dataclass(frozen=True, kw_only=True, slots=True)
class TunnelStatus:
    """How one tunnel is."""

    #: Its name in [tunnels].
    name: str
    #: -L: what is there appears here; -R: what is here appears there.
    direction: str
    #: Who is dialled: [USER@]HOST[:PORT].
    host: str
    #: up, or what is wrong with it.
    state: State
    #: Since when it is in this state.
    since: datetime | None = None
    #: What ssh, or the service at its end, said; empty while all is well.
    error: str = ""
    #: What a person may do about it.
    remedy: str = ""
    #: Seconds that the last question through it took.
    latency: float | None = None
    #: When that was.
    probed_at: datetime | None = None
    #: When it is tried again.
    next_try: datetime | None = None
    #: The services that go through it, and where they appear.
    services: Mapping[str, str]

    @property
    def is_working(self) -> bool:
        """Whether it can be used."""
        return self.state in WORKING


def told(tunnel: Tunnel, place: Place) -> TunnelStatus:
    """Return how a tunnel is by its keeper's file; stopped when no keeper lives."""
    blank = TunnelStatus(name=tunnel.name, direction=tunnel.direction.value, host=str(tunnel.target), state=State.STOPPED,
                         remedy=_UP.format(name=tunnel.name), services={one.service: "" for one in tunnel.forwards})
    if not place.lock.exists() or not flock.is_held(place.lock):
        return blank
    found = _read(place)
    moments = {key: datetime.fromisoformat(found[key]) for key in ("since", "probed_at", "next_try") if found.get(key)}
    known = {key: value for key, value in found.items() if key in {"error", "remedy", "latency", "services"}}
    fields = asdict(blank) | {"remedy": ""} | known | moments | {"state": State(found.get("state", State.CONNECTING))}
    return TunnelStatus(**fields)


def tell(place: Place, status: TunnelStatus, ssh: int | None) -> None:
    """Write the file: how it is, and the process `ssh` that holds it, by which the next keeper finds one that outlived its own."""
    fresh = place.status.with_suffix(".new")
    found = process.read(ssh) if ssh is not None else None
    held = {"ssh": ssh, "ssh_started": found.started} if found else {}
    fresh.write_text(json.dumps(asdict(status) | held, default=_plain), encoding="utf-8")
    fresh.replace(place.status)


def left_behind(place: Place) -> int | None:
    """Return the pid of the ssh of a keeper that was killed, if it still runs."""
    held = _read(place)
    found = process.read(held["ssh"]) if isinstance(held.get("ssh"), int) else None
    return found.pid if found is not None and found.started == held.get("ssh_started") else None


def all_working(found: Iterable[TunnelStatus]) -> bool:
    """Tell whether all can be used."""
    return all(one.is_working for one in found)


def _read(place: Place) -> dict[str, Any]:
    try:
        return dict(json.loads(place.status.read_text(encoding="utf-8")))
    except (OSError, ValueError):  # not written yet, or by a release that is gone
        return {}


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
