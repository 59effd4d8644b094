"""How tunnels are, as their keepers tell it: one small file each, written at one stroke and read by whoever asks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rqflow import process
from rqflow.deploy import flock
from rqflow.deploy.statedir import Machine
from rqflow.deploy.tunnels.failures import WORKING, State
from rqflow.deploy.tunnels.places import Place, goes_through, landed, owner, place
from rqflow.settings import Settings
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


def told(tunnel: Tunnel, own: Place) -> TunnelStatus:
    """Return how a tunnel is by its keeper's file; stopped when no keeper lives."""
    blank = TunnelStatus(name=tunnel.name, direction=tunnel.direction.value, host=str(tunnel.target), state=State.STOPPED,
                         remedy=_UP.format(name=tunnel.name), services={one.service: "" for one in tunnel.forwards})
    if not own.lock.exists() or not flock.is_held(own.lock):
        return blank
    found = _read(own)
    moments = {key: datetime.fromisoformat(found[key]) for key in ("since", "probed_at", "next_try") if found.get(key)}
    known = {key: value for key, value in found.items() if key in {"error", "remedy", "latency", "services"}}
    fields = asdict(blank) | {"remedy": ""} | known | moments | {"state": State(found.get("state", State.CONNECTING))}
    return TunnelStatus(**fields)


def hint(settings: Settings, state: Path, machine: Machine) -> str:
    """Return what is wrong with the tunnel that redis.url goes through, and what to do; empty where it goes through none, or that one works."""
    if landings := [path for path in landed(settings) if path.name == "redis.sock"]:
        return whose(landings[0])
    tunnel = settings.tunnels.named.get(goes_through(settings.redis.url))
    seen = told(tunnel, place(state, machine, tunnel.name)) if tunnel is not None else None
    if seen is None or seen.is_working:
        return ""
    return f"Tunnel {seen.name}: {seen.state}{f': {seen.error}' if seen.error else ''}. {seen.remedy}".strip()


def whose(landing: Path) -> str:
    """Return who keeps up the tunnel that ends at a socket here, in words that say what to do when nobody answers there."""
    keeper = owner(landing)
    come = f"which {keeper} keeps up: `rqflow tunnel status` says there what is wrong" if keeper else "which has never come: `rqflow tunnel up` there"
    return f"It is the end of tunnel {landing.parent.name} of the other side, {come}."


def tell(own: Place, status: TunnelStatus, ssh: int | None) -> None:
    """Write the file: how it is, and the process `ssh` that holds it, by which the next keeper finds one that outlived its own."""
    fresh = own.status.with_suffix(".new")
    found = process.read(ssh) if ssh is not None else None
    held = {"ssh": ssh, "ssh_started": found.started} if found else {}
    fresh.write_text(json.dumps(asdict(status) | held, default=_plain), encoding="utf-8")
    fresh.replace(own.status)


def left_behind(own: Place) -> int | None:
    """Return the pid of the ssh of a keeper that was killed, if it still runs."""
    held = _read(own)
    found = process.read(held["ssh"]) if isinstance(held.get("ssh"), int) else None
    return found.pid if found is not None and found.started == held.get("ssh_started") else None


def all_working(found: Iterable[TunnelStatus]) -> bool:
    """Tell whether all can be used."""
    return all(one.is_working for one in found)


def _read(own: Place) -> dict[str, Any]:
    try:
        return dict(json.loads(own.status.read_text(encoding="utf-8")))
    except (OSError, ValueError):  # not written yet, or by a release that is gone
        return {}


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
