"""The hub put together: the scheduler and its chores, each on a connection of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import uuid4

from rqflow import clock, logs
from rqflow.actions import backfilling, clean, schedule, trigger
from rqflow.actions import folder as dags_folder
from rqflow.actions.delete import SETTLE, SWEEP, Remover
from rqflow.actions.folder import DagsFolder
from rqflow.broker.broker import Broker
from rqflow.broker.events import EventStream
from rqflow.broker.logstream import LogStream
from rqflow.broker.requests import RequestDesk
from rqflow.dag.series import Interval
from rqflow.dag.version import Version
from rqflow.deploy import answers, lastknown
from rqflow.deploy.live import another_broker
from rqflow.deploy.services import Services
from rqflow.deploy.tunnels import linkage
from rqflow.recorder import mirroring
from rqflow.recorder.archive import LogArchive
from rqflow.recorder.loop import keep_running, step_aside
from rqflow.recorder.notices.outbox import Outbox
from rqflow.recorder.notices.sorting import Sorter
from rqflow.recorder.recorder import Recorder
from rqflow.recorder.retention import retention
from rqflow.recorder.room import Room
from rqflow.scheduler.attention import Attention
from rqflow.scheduler.backfills import Backfiller, Deeds
from rqflow.scheduler.callbacks import CallbackSender, note_misses
from rqflow.scheduler.epoch import EpochKeeper
from rqflow.scheduler.hub import Chore, Hub, recovering, tidying
from rqflow.scheduler.recovery import Recovery
from rqflow.scheduler.scheduler import Scheduler
from rqflow.scheduler.sla import SlaWatch, recorded_upto
from rqflow.scheduler.ticks import Ticker
from rqflow.security.keyring import Keyring
from rqflow.states import BackfillState
from rqflow.store import backfills, callbacks, deletions, notices, schedules
from rqflow.store.engine import Connection, Engine, reading, sqlite_file

logger = logging.getLogger(__name__)

#: Seconds between two cleanings of the history, and between two transactions of one.
CLEAN_EVERY, CLEAN_PAUSE = 3600.0, 0.05
#: Seconds between two looks whether the Variables and Connections in Redis are those of SQL.
MIRROR_EVERY = 5.0
#: Seconds between two looks at a removal that waits for something, and between two looks for work that nobody's attention was drawn to.
REMOVE_EVERY, LOOK_SELDOM = 1.0, 60.0
#: For so long a hub that would end when it is idle waits for a worker that calls what is to be called.
AWAITED = timedelta(minutes=10)


def scheduler(services: Services, on_tick: Callable[[], None] = lambda: None) -> Scheduler:
    """Return the scheduler alone; `on_tick` is called when the alarm of a DAG rings."""
    return Scheduler(services.connection, services.broker, lock_ttl=services.settings.scheduler.lock_ttl, on_tick=on_tick)


def ticker(services: Services) -> Ticker:
    """Return what starts scheduled runs."""
    broker, engine = another_broker(services, client_name="rqflow-schedules"), services.engine

    def start(version: Version, interval: Interval) -> bool:
        return trigger.start_scheduled(broker, engine, trigger.scheduled(version, interval, clock.utcnow()), version)

    return Ticker(broker, engine, start, catchup_by_default=services.settings.scheduler.catchup_by_default)


def outbox(services: Services) -> Outbox:
    """Return what tells people; raises ConfigError for settings of [notices] that cannot be."""
    def pause(connection: Connection, dag_id: str) -> bool:
        return schedule.pause(connection, dag_id, by="rqflow")

    return Outbox(services.engine, services.settings, Sorter(services.settings.notices, pause))


def backfiller(services: Services) -> Backfiller:
    """Return what carries on with backfills."""
    broker, engine = another_broker(services, client_name="rqflow-backfills"), services.engine
    return Backfiller(engine, Deeds(
        run_of=backfilling.run_of, start=partial(trigger.start_scheduled, broker, engine), rerun=partial(backfilling.rerun, broker, engine),
        cancel=partial(backfilling.cancel, broker, engine)))


def once(services: Services) -> None:
    """Do what the leader does, once: believe Redis, mend what others left, move what is due; nothing of it while another one leads."""
    alone, ticks, carrier = scheduler(services), ticker(services), backfiller(services)
    sender = CallbackSender(another_broker(services, client_name="rqflow-callbacks"), services.engine)
    remover = Remover(services.broker, services.engine, services.settings)
    recovery = Recovery(services.broker, EpochKeeper(services.broker, services.engine))

    def recover() -> None:
        if alone.is_leader:
            recovery.step()
            ticks.step()
            remover.step()
            carrier.step()
            sender.step()

    alone.run(burst=True, before_wait=recover)


def build(services: Services, *, idle_exit: bool = False, parses: bool = True) -> Hub:
    """Return the whole hub; unless it `parses` none, the leader watches the folder of DAGs.

    On SQLite only the leader records, because SQLite takes one writer at a time.
    """
    events = EventStream(another_broker(services, client_name="rqflow-recorder").connection)
    recorder = Recorder(events, services.engine, f"hub-{uuid4().hex[:12]}")
    settings = services.settings
    database, folder = sqlite_file(settings.database.url), Path(settings.logs.folder)
    room = Room([folder, *([database.parent] if database else [])], settings.logs.min_free)
    archive = LogArchive(LogStream(another_broker(services, client_name="rqflow-archive").connection), folder, room)
    old_logs = retention(another_broker(services, client_name="rqflow-retention"), folder, settings.logs.retention)
    ticks = ticker(services)
    attention = Attention(services.engine, SETTLE)
    is_sqlite = settings.database.url.startswith("sqlite")
    chores = [
        Chore(name="recorder", run=_aside(recorder.run), leader_only=is_sqlite),
        Chore(name="log archive", run=_aside(archive.run)),
        recovering(another_broker(services, client_name="rqflow-recovery"), services.engine),
        Chore(name="schedules", run=lambda stop: ticks.run(stop, lambda: attention.wanted.schedules)),
        Chore(name="notices", run=outbox(services).run),
        _watching(services),
        Chore(name="attention", run=attention.run),
        _calling(services, attention),
        _filling(services, attention),
        Chore(name="log retention", run=old_logs.run),
        _cleaning(services),
        _removing(services, attention),
        tidying(another_broker(services, client_name="rqflow-tidying")),
        _answering(services),
        _mirroring(services),
        *_copying(services),
        *([_reading_folder(services)] if parses and settings.scheduler.folder_interval else []),
    ]
    limit = services.settings.scheduler.idle_exit if idle_exit else None
    is_idle = _idle(another_broker(services), services.engine, settings.scheduler.idle_exit)
    return Hub(scheduler(services, ticks.ring), chores, idle_exit=limit, is_idle=is_idle)


def _aside(run: Callable[[threading.Event], None]) -> Callable[[threading.Event], None]:
    """Return `run` with less right to the processors. Not for a worker's threads: the one that starts tasks may have to wait for what they hold."""
    def chore(stop: threading.Event) -> None:
        step_aside()
        run(stop)

    return chore


def _watching(services: Services) -> Chore:
    """Return the chore that finds tasks which did not end in their sla."""
    events = EventStream(another_broker(services, client_name="rqflow-slas").connection)
    return Chore(name="slas", run=SlaWatch(services.engine, partial(recorded_upto, events), partial(note_misses, services.engine)).run)


def _calling(services: Services, attention: Attention) -> Chore:
    """Return the chore that has authors' functions called."""
    sender = CallbackSender(another_broker(services, client_name="rqflow-callbacks"), services.engine)
    return Chore(name="callbacks", run=lambda stop: sender.run(stop, lambda: attention.wait("callbacks", stop, at_most=LOOK_SELDOM)))


def _filling(services: Services, attention: Attention) -> Chore:
    """Return the chore that carries on with backfills."""
    carrier = backfiller(services)
    return Chore(name="backfills", run=lambda stop: carrier.run(stop, lambda: attention.wait("backfills", stop, at_most=LOOK_SELDOM)))


def _answering(services: Services) -> Chore:
    """Return the chore that answers what machines without the database ask of the hub."""
    broker = another_broker(services, client_name="rqflow-requests")
    desk = RequestDesk(broker.connection, answers.handlers(broker, services.engine, Keyring.of(services.settings)))
    return Chore(name="requests", run=lambda stop: keep_running(desk.step, stop, name="requests"))


def _mirroring(services: Services) -> Chore:
    """Return the chore that sees to it that Redis has the Variables and Connections of SQL: who changed them may not have reached it."""
    broker = another_broker(services, client_name="rqflow-mirror")

    def run(stop: threading.Event) -> None:
        def step() -> None:
            mirroring.send_if_changed(broker, services.engine)
            stop.wait(MIRROR_EVERY)

        keep_running(step, stop, name="mirror")

    return Chore(name="mirror", run=run)


def _copying(services: Services) -> list[Chore]:
    """Return the chore that keeps what is to be shown while the tunnel to Redis and the database is down, where there is one."""
    if not services.settings.scheduler.copy_interval or not linkage.through(services.settings):
        return []
    copier = lastknown.Copier(another_broker(services, client_name="rqflow-copy"), services.engine, services.settings)
    return [Chore(name="last known", run=_aside(copier.run))]


def _reading_folder(services: Services) -> Chore:
    """Return the chore that takes over what is put into the folder of DAGs."""
    broker, settings = another_broker(services, client_name="rqflow-folder"), services.settings

    def run(stop: threading.Event) -> None:
        step_aside()
        folder = DagsFolder(broker, services.engine, settings, tell=dags_folder.log)
        told: tuple[str, ...] = ()

        def step() -> None:
            nonlocal told
            _, has_more = folder.step(stop)
            for problem in folder.problems if folder.problems != told else ():
                logger.warning("%s", problem, extra=logs.context("dag_folder"))
            told = folder.problems
            if not has_more:
                stop.wait(dags_folder.pause_between(folder.took, settings.scheduler.folder_interval))

        keep_running(step, stop, name="dags folder")

    return Chore(name="dags folder", run=run)


def _cleaning(services: Services) -> Chore:
    """Return the chore that keeps the history as small as database.retention says; it does nothing where that is 0."""
    broker, given = another_broker(services, client_name="rqflow-cleaning"), services.settings.database

    def run(stop: threading.Event) -> None:
        def step() -> None:
            wanted = clean.Wanted(before=broker.now() - given.retention, keep_last=given.keep_last)
            clean.run(broker, services.engine, wanted, pause=lambda: stop.wait(CLEAN_PAUSE))
            stop.wait(CLEAN_EVERY)

        if given.retention:
            keep_running(step, stop, name="cleaning")

    return Chore(name="cleaning", run=run)


def _removing(services: Services, attention: Attention) -> Chore:
    """Return the chore that carries through what people deleted."""
    remover = Remover(another_broker(services, client_name="rqflow-removing"), services.engine, services.settings)

    def run(stop: threading.Event) -> None:
        def step() -> None:
            if remover.step(stop.is_set):
                stop.wait(REMOVE_EVERY)
            else:
                attention.wait("removals", stop, at_most=SWEEP)

        keep_running(step, stop, name="removing")

    return Chore(name="removing", run=run)


def _idle(broker: Broker, engine: Engine, soon: timedelta) -> Callable[[], bool]:
    """Return the question whether nothing is left to do: no unfinished run, backfill or removal, no event that SQL lacks, nothing to tell, no run due
    soon.
    """
    events = EventStream(broker.connection)

    def is_idle() -> bool:
        if broker.live_runs() or events.backlog():
            return False
        with reading(engine) as connection:
            if callbacks.count_open(connection, clock.utcnow() - AWAITED):
                return False
            if notices.unsent(connection) or any(one.state is not BackfillState.PAUSED for one in backfills.unfinished(connection)):
                return False
            due = schedules.earliest(connection)
            if deletions.count_going(connection):
                return False
        return due is None or due > clock.utcnow() + soon

    return is_idle
