"""How the Python child of a task asks the hub: over Redis, as its worker would; under another account than that, through it (desk.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from rqflow.broker import requests
from rqflow.broker.connection import open_connection
from rqflow.dag.asking import Ask
from rqflow.settings import Settings
from rqflow.worker import desk


def told(settings: Settings) -> dict[str, Any] | None:
    """Return what a child is told that may ask, for `asker`; None when this worker knows no URL of its Redis."""
    if not settings.redis.url:
        return None
    return {"url": settings.redis.url, "socket_timeout": settings.redis.socket_timeout.total_seconds()}


def asker(hub: Mapping[str, Any]) -> Ask:
    """Return what asks the hub; Redis is spoken to at the first question."""
    if "desk" in hub:
        return lambda kind, payload: desk.ask(hub, do=desk.ASK, kind=kind, payload=dict(payload))
    defaults = Settings(home=Path("/"))
    own = replace(defaults.redis, url=str(hub["url"]), socket_timeout=timedelta(seconds=float(hub["socket_timeout"])))
    connection = open_connection(own.url, replace(defaults, redis=own), client_name="rqflow-task")

    def ask(kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        return requests.ask(connection, kind, payload)

    return ask
