"""The command of ssh as a person may try it by hand."""

from __future__ import annotations

from pathlib import Path

from rqflow.deploy.statedir import Machine
from rqflow.deploy.tunnels import places
from rqflow.deploy.tunnels.command import Ssh
from rqflow.settings import Settings
from rqflow.tunnel import Tunnel

#: Stands for the folder on the other side, which is known only when one has been there.
LANDING = "~/.rqflow/tunnels"


def commands(tunnel: Tunnel, settings: Settings, state: Path, machine: Machine) -> list[list[str]]:
    """Return what is called to hold a tunnel, in this order. Raises ConfigError for a tunnel that cannot be."""
    ssh = Ssh(tunnel=tunnel, settings=settings.tunnels, home=settings.home)
    routes = places.routes(tunnel, settings, state, machine, f"{LANDING}/{tunnel.name}")
    landing = [ssh.landing(f"{machine.host}:{settings.home}")] if places.needs_landing(tunnel) else []
    if tunnel.rides:
        return [ssh.control("check"), *landing, ssh.control("forward", routes)]
    return [*landing, ssh.forwarding(routes)]
