"""The units by which systemd runs the services, and a program file for a supervisord that is there already."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jinja2

_TEMPLATES = Path(__file__).with_name("templates")
UNITS = ("rqflow-scheduler.service", "rqflow-webserver.service", "rqflow-worker@.service", "rqflow-tunnel@.service", "rqflow.target")
SUPERVISOR, TUNNEL = "rqflow.conf", UNITS[3]
#: What runs where nothing else is said.
PROGRAMS = (("scheduler", "scheduler"), ("worker", "worker"), ("webserver", "webserver"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Installation:
    """For which rqflow, home and account the files are."""

    #: The command rqflow, absolute.
    command: str
    home: str
    #: Whose processes they are; None: of the user whose own systemd it is.
    account: str | None
    #: File of variables, such as RQFLOW__REDIS__URL; it need not be there.
    environment_file: str
    #: Folder of the folders of workers, each named by its queue.
    workers: str
    #: Which services the target stands for, and the names of the tunnels, which it does, too.
    services: tuple[str, ...] = ("scheduler", "webserver", "worker")
    tunnels: tuple[str, ...] = ()
    #: What supervisord calls them together, and its programs: name and arguments of the command rqflow.
    group: str = "rqflow"
    programs: tuple[tuple[str, str], ...] = PROGRAMS


#: What the samples in systemd/ and conf/ are for.
SYSTEM = Installation(command="/opt/rqflow/bin/rqflow", home="/var/lib/rqflow", account="rqflow", environment_file="/etc/rqflow/env",
                      workers="/var/lib/rqflow/workers")


def tunnel_programs(names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return the programs of supervisord that keep these tunnels up."""
    return tuple((f"tunnel-{name}", f"tunnel up {name}") for name in names)


def rendered(name: str, installation: Installation) -> str:
    """Return the text of one of UNITS, or of SUPERVISOR; raises ValueError for a path that cannot stand in it."""
    for path in (installation.command, installation.home, installation.workers):
        if any(character in path for character in '"%\\\n$'):
            raise ValueError(f"{path} has a character that cannot stand in a unit file")
    made = jinja2.Environment(loader=jinja2.FileSystemLoader(_TEMPLATES), trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,  # noqa: S701 - no HTML
                              undefined=jinja2.StrictUndefined)
    plain = {name: getattr(installation, name) for name in Installation.__slots__}
    command = f'"{installation.command}"' if " " in installation.command else installation.command
    services = ["worker@default" if one == "worker" else one for one in installation.services] + [f"tunnel@{one}" for one in installation.tunnels]
    wants = " ".join(f"rqflow-{one}.service" for one in services)
    return made.get_template(name).render(plain | {"command": command, "wants": wants}).lstrip("\n")
