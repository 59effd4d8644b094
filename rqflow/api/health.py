"""Operations that tell how a hub stands."""

from __future__ import annotations

from rqflow.api.hub import Hub
from rqflow.api.operation import Nothing, Page, operation
from rqflow.deploy import doctor, health, overview
from rqflow.deploy.checks.finding import Finding
from rqflow.deploy.health import Health
from rqflow.deploy.overview import Overview, Release
from rqflow.security.roles import Role


@operation("version.get", "GET", "/version", Role.VIEWER)
def get_version(hub: Hub, _: Nothing) -> Release:  # noqa: ARG001 - each operation is given one
    """Show the release of this hub, and what it works with."""
    return overview.release()


@operation("health.get", "GET", "/health", Role.VIEWER)
def get_health(hub: Hub, _: Nothing) -> Page[Health]:
    """Tell whether Redis, database, scheduler, workers and web server live."""
    return Page(items=tuple(health.look(hub.settings)))


@operation("health.overview", "GET", "/health/overview", Role.ADMIN)
def get_overview(hub: Hub, _: Nothing) -> Overview:
    """Show parts, processes, what waits to be recorded, disks, tunnels and releases."""
    return overview.look(hub.settings)


@operation("health.doctor", "GET", "/health/doctor", Role.ADMIN)
def examine(hub: Hub, _: Nothing) -> Page[Finding]:
    """Do the checks of `rqflow doctor` on the machine of the web server, but those that ask a mail server."""
    return Page(items=tuple(doctor.examine(hub.settings, asks_mail=False)))
