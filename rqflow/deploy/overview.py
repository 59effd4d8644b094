"""How a hub stands, for those who look after it: parts, processes, what waits to be recorded, disks, tunnels, releases. Looks only."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import redis

from rqflow.broker import protocol
from rqflow.broker.events import EventStream
from rqflow.broker.logstream import LogStream
from rqflow.broker.protocol import PROTOCOL, Process
from rqflow.deploy import health, live, standing
from rqflow.deploy.health import Health
from rqflow.exceptions import RqflowError
from rqflow.scheduler.sla import recorded_upto
from rqflow.settings import Settings
from rqflow.store import schema


@dataclass(frozen=True, kw_only=True, slots=True)
class Disk:
    """The disk of a folder, in bytes."""

    #: What the folder is for: home, state, logs, database.
    place: str
    folder: str
    free: int
    total: int
    #: Less than logs.min_free is free.
    is_short: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Tunnel:
    """A tunnel of this machine, as its keeper wrote down last."""

    name: str
    is_working: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Flow:
    """What Redis tells of the way from events and logs to history and archive."""

    #: Events that wait to be recorded; the history has everything up to that moment.
    unrecorded: int
    recorded_upto: datetime
    #: Why the archive takes no logs, and since when; empty and None: it takes them.
    archive_held: str
    archive_held_since: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """What this process is of."""

    version: str
    #: Number of the protocol by which releases say whether they work together.
    protocol: int
    #: Revision of the database that it needs.
    revision: str
    python: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """How a hub stands. What Redis tells is None, or empty, while it is away."""

    components: tuple[Health, ...]
    processes: tuple[Process, ...]
    flow: Flow | None
    disks: tuple[Disk, ...]
    tunnels: tuple[Tunnel, ...]
    release: Release


def look(settings: Settings) -> Overview:
    """Return how a hub stands."""
    flow, processes = _flow(settings)
    return Overview(components=tuple(health.look(settings)), processes=processes, flow=flow, disks=tuple(_disks(settings)),
                    tunnels=tuple(Tunnel(name=name, is_working=bool(works)) for (name,), works in standing.tunnels(settings).items()),
                    release=release())


def release() -> Release:
    """Return what this process is of."""
    return Release(version=protocol.release(), protocol=PROTOCOL, revision=schema.head(), python=platform.python_version())


def _flow(settings: Settings) -> tuple[Flow | None, tuple[Process, ...]]:
    try:
        with live.peek(settings) as connection:
            if connection is None:
                return None, ()
            stream, held = EventStream(connection), LogStream(connection).held()
            flow = Flow(unrecorded=stream.backlog(), recorded_upto=recorded_upto(stream), archive_held=held.reason if held else "",
                        archive_held_since=held.since if held else None)
            return flow, tuple(protocol.processes(connection))
    except (redis.exceptions.RedisError, RqflowError):  # the component redis says so
        return None, ()


def _disks(settings: Settings) -> Iterator[Disk]:
    for place, folder in standing.folders(settings).items():
        try:
            usage = shutil.disk_usage(_existing(folder))
        except OSError:
            continue
        yield Disk(place=place, folder=str(folder), free=usage.free, total=usage.total, is_short=usage.free < settings.logs.min_free)


def _existing(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that is there."""
    return next((one for one in (folder, *folder.parents) if one.exists()), folder)
