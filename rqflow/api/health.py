"""Operations that tell how a hub stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from rqflow.api.hub import Hub
from rqflow.api.operation import Nothing, Page, about, operation
from rqflow.deploy import doctor, health, overview
from rqflow.deploy.checks.finding import Finding
from rqflow.deploy.health import COMPONENTS, Health
from rqflow.deploy.overview import Overview, Release
from rqflow.exceptions import UsageError
from rqflow.security.roles import Role


@operation("version.get", "GET", "/version", Role.VIEWER)
def get_version(hub: Hub, _: Nothing) -> Release:  # noqa: ARG001 - each operation is given one
    """Show the release of this hub, and what it works with."""
    return overview.release()


@dataclass(frozen=True, kw_only=True, slots=True)
class ShowHealth:
    """Of which parts."""

    component: list[str] = about(f"Only these parts: {', '.join(COMPONENTS)}.", [])
    max_age: float | None = about("A worker whose last sign of life is older, in seconds, does not count; worker.lease when not given.", None)


@operation("health.get", "GET", "/health", Role.VIEWER)
def get_health(hub: Hub, asked: ShowHealth) -> Page[Health]:
    """Tell whether Redis, database, scheduler, workers and web server live."""
    if odd := [name for name in asked.component if name not in COMPONENTS]:
        raise UsageError(f"component: {odd[0][:50]!r} is none of {', '.join(COMPONENTS)}")
    if asked.max_age is not None and not 0 < asked.max_age <= 10**9:
        raise UsageError("max_age: it is not from 0 to a billion seconds")
    max_age = timedelta(seconds=asked.max_age) if asked.max_age is not None else None
    return Page(items=tuple(health.look(hub.settings, asked.component or None, max_age=max_age)))


@operation("health.overview", "GET", "/health/overview", Role.ADMIN)
def get_overview(hub: Hub, _: Nothing) -> Overview:
    """Show parts, processes, what waits to be recorded, disks, tunnels and releases."""
    return overview.look(hub.settings)


@operation("health.doctor", "GET", "/health/doctor", Role.ADMIN)
def examine(hub: Hub, _: Nothing) -> Page[Finding]:
    """Do the checks of `rqflow doctor` on the machine of the web server, but those that ask a mail server."""
    return Page(items=tuple(doctor.examine(hub.settings, asks_mail=False)))
