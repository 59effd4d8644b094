"""The hub put together: the scheduler and its chores, each on a connection of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from rqflow.broker.broker import Broker
from rqflow.broker.events import EventStream
from rqflow.broker.logstream import LogStream
from rqflow.broker.requests import RequestDesk
from rqflow.deploy import answers
from rqflow.deploy.live import another_broker
from rqflow.deploy.services import Services
from rqflow.recorder.archive import LogArchive
from rqflow.recorder.loop import keep_running
from rqflow.recorder.recorder import Recorder
from rqflow.scheduler.hub import Chore, Hub, recovering, tidying
from rqflow.scheduler.scheduler import Scheduler


def scheduler(services: Services) -> Scheduler:
    """Return the scheduler alone."""
    return Scheduler(services.connection, services.broker, lock_ttl=services.settings.scheduler.lock_ttl)


def build(services: Services, *, idle_exit: bool = False) -> Hub:
    """Return the whole hub. On SQLite only the leader records, because SQLite takes one writer at a time."""
    events = EventStream(another_broker(services, client_name="rqflow-recorder").connection)
    recorder = Recorder(events, services.engine, f"hub-{uuid4().hex[:12]}")
    archive = LogArchive(LogStream(another_broker(services, client_name="rqflow-archive").connection), Path(services.settings.logs.folder))
    is_sqlite = services.settings.database.url.startswith("sqlite")
    chores = [
        Chore(name="recorder", run=recorder.run, leader_only=is_sqlite),
        Chore(name="log archive", run=archive.run),
        recovering(another_broker(services, client_name="rqflow-recovery"), services.engine),
        tidying(another_broker(services, client_name="rqflow-tidying")),
        _answering(services),
    ]
    limit = services.settings.scheduler.idle_exit if idle_exit else None
    return Hub(scheduler(services), chores, idle_exit=limit, is_idle=_idle(another_broker(services)))


def _answering(services: Services) -> Chore:
    """Return the chore that answers what machines without the database ask of the hub."""
    broker = another_broker(services, client_name="rqflow-requests")
    desk = RequestDesk(broker.connection, answers.handlers(broker, services.engine))
    return Chore(name="requests", run=lambda stop: keep_running(desk.step, stop, name="requests"))


def _idle(broker: Broker) -> Callable[[], bool]:
    """Return the question whether nothing is left to be done: no unfinished run, no event that SQL lacks."""
    events = EventStream(broker.connection)
    return lambda: not broker.live_runs() and events.backlog() == 0
