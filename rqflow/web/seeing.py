"""What pages that are live need of a hub: the live state where it is known, and up to which event what they show is true."""

from __future__ import annotations

from collections.abc import Callable

from rqflow.api.hub import Hub
from rqflow.broker.broker import Broker
from rqflow.broker.events import EventStream
from rqflow.store.dags import DagRecord


def live_of(hub: Hub) -> Broker | None:
    """Return the live state, as sights take it; None while Redis is away."""
    return None if hub.away else hub.live


def upto(hub: Hub) -> str:
    """Return the id of the newest event, to be asked before what a fragment shows is read; empty while Redis is away."""
    return "" if hub.away else EventStream(hub.live.connection).newest()


def filter_of(hub: Hub) -> Callable[[DagRecord], bool] | None:
    """Return what tells which DAGs the person may see; None: all."""
    return None if hub.person.is_admin or not hub.settings.webserver.filter_by_owner else hub.sees
