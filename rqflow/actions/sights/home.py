"""The whole at a glance: what runs now, what failed lately, what comes next, queues, workers, and whether all parts live."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rqflow import clock
from rqflow.actions.model import seconds_between
from rqflow.actions.sights.outline import OUTLINES
from rqflow.actions.sights.overlay import laid_over
from rqflow.actions.sights.schedule_words import words
from rqflow.broker import control, overview, standing
from rqflow.broker.broker import Broker
from rqflow.broker.overview import Pulse, Running
from rqflow.broker.status import RunStatus, WorkerStatus
from rqflow.states import TERMINAL_RUN_STATES, RunState
from rqflow.store import run_lines
from rqflow.store.engine import Engine, reading
from rqflow.store.run_lines import RunLine

#: How far it looks back and ahead, how many it lists of each, and how many unfinished runs it looks at.
BACK = AHEAD = timedelta(hours=24)
LISTED, MOST_LIVE = 25, 500
#: A scheduler whose last look is older than this does not beat.
BEAT = timedelta(seconds=30)


@dataclass(frozen=True, kw_only=True, slots=True)
class HomeRun:
    """A run that goes on, or has failed."""

    run_key: str
    dag_id: str
    run_id: str
    state: RunState
    started_at: datetime | None
    ended_at: datetime | None
    #: Seconds, until now while it goes on.
    duration: float | None
    #: {state: tasks that are in it} of one that Redis has.
    counts: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class HomeTask:
    """A task that runs."""

    run_key: str
    dag_id: str
    run_id: str
    task_id: str
    try_number: int
    worker: str
    started_at: datetime | None
    duration: float | None
    #: unreachable, cancel requested, or nothing.
    mark: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Upcoming:
    """The next run of a DAG by its schedule."""

    dag_id: str
    due_at: datetime
    schedule_words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class HomeQueue:
    """A queue."""

    name: str
    waiting: int
    running: int
    workers: int
    #: Seconds that the task waits which is first there; None: nothing waits.
    oldest: float | None
    #: Since when tasks wait there and no worker serves it; None: that is not so.
    unserved_since: datetime | None
    paused_since: datetime | None
    paused_by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A part of the system. `is_well` None: it cannot be told."""

    #: scheduler, redis, database, recorder, archive.
    name: str
    is_well: bool | None
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Home:
    """The whole. Lists have LISTED of what is counted beside them."""

    at: datetime
    runs: tuple[HomeRun, ...]
    run_count: int
    tasks: tuple[HomeTask, ...]
    task_count: int
    #: Runs that failed in the last 24 hours, the last first.
    failed: tuple[HomeRun, ...]
    failed_count: int
    #: Runs that are due in the next 24 hours, one a DAG.
    upcoming: tuple[Upcoming, ...]
    queues: tuple[HomeQueue, ...]
    workers: tuple[WorkerStatus, ...]
    health: tuple[Part, ...]


def home(broker: Broker | None, engine: Engine, *, sees: Callable[[str], bool] | None = None) -> Home:
    """Return the whole; `sees` says of which dag_ids the person may know, None: of all."""
    pulse = overview.pulse(broker) if broker else None
    now = pulse.now if pulse else clock.utcnow()
    running = overview.running_now(broker) if broker else []
    live = broker.live_runs() if broker else []
    ended = overview.ended_since(broker, now - BACK, MOST_LIVE) if broker else []
    # Those made last, and all in which a task runs.
    looked_at = dict.fromkeys([*(one.run_key for one in running), *reversed(live[-MOST_LIVE:])])
    statuses = broker.run_statuses([*looked_at, *ended]) if broker else {}
    failed_there = [key for key in ended if key in statuses and statuses[key].state is RunState.FAILED]
    with reading(engine) as connection:
        upcoming = run_lines.coming_until(connection, now + AHEAD, MOST_LIVE)
        failed = run_lines.failed_since(connection, now - BACK, MOST_LIVE)
        keys = {*looked_at, *failed_there} if broker else {*run_lines.unfinished_keys(connection)[:MOST_LIVE]}
        lines = {line.run_key: line for line in run_lines.by_keys(connection, keys - {line.run_key for line in failed})}
    may_see = sees or (lambda _: True)
    lines = {key: line for key, line in (lines | {line.run_key: line for line in failed}).items() if may_see(line.dag_id)}
    runs = _runs(lines, statuses, now)
    bad = _failed(broker, engine, lines, now)
    workers = broker.workers() if broker else []
    tasks = _tasks(broker, engine, [one for one in running if one.run_key in lines], lines, now)
    return Home(
        at=now, runs=tuple(runs[:LISTED]), run_count=len(runs) + (max(len(live) - MOST_LIVE, 0) if sees is None else 0), tasks=tuple(tasks[:LISTED]),
        task_count=len(tasks), failed=tuple(bad[:LISTED]), failed_count=len(bad),
        upcoming=tuple(Upcoming(dag_id=one.dag_id, due_at=one.due_at, schedule_words=words(one.schedule, one.timezone))
                       for one in upcoming if may_see(one.dag_id))[:LISTED],
        queues=_queues(broker, workers, now) if broker else (), workers=tuple(standing.all_workers(broker, workers)) if broker else (),
        health=_health(pulse))


def _runs(lines: Mapping[str, RunLine], statuses: Mapping[str, RunStatus], now: datetime) -> list[HomeRun]:
    """Return the unfinished runs, those made last first."""
    found = [_run(line, statuses.get(key), now) for key, line in lines.items()]
    made = {key: line.created_at or clock.EPOCH for key, line in lines.items()}
    return sorted((run for run in found if run.state not in TERMINAL_RUN_STATES), key=lambda run: (made[run.run_key], run.run_key), reverse=True)


def _failed(broker: Broker | None, engine: Engine, lines: Mapping[str, RunLine], now: datetime) -> list[HomeRun]:
    """Return the runs that have failed, the last first; one that runs again has not."""
    overlaid = laid_over(broker, engine, list(lines.values()))
    bad = [_run(line, overlaid.statuses.get(line.run_key), now) for line in overlaid.lines if line.state is RunState.FAILED]
    return sorted((run for run in bad if run.ended_at and run.ended_at >= now - BACK), key=lambda run: run.ended_at or now, reverse=True)


def _run(line: RunLine, status: RunStatus | None, now: datetime) -> HomeRun:
    state, started_at, ended_at = (status.state, status.started_at, status.ended_at) if status else (line.state, line.started_at, line.ended_at)
    counts = {state.value: number for state, number in status.counts.items() if number} if status else {}
    return HomeRun(run_key=line.run_key, dag_id=line.dag_id, run_id=line.run_id, state=state, started_at=started_at, ended_at=ended_at,
                   duration=seconds_between(started_at, ended_at or now), counts=counts)


def _tasks(broker: Broker | None, engine: Engine, running: list[Running], lines: Mapping[str, RunLine], now: datetime) -> list[HomeTask]:
    shown = {lines[one.run_key].version for one in running[:LISTED]}
    outlines = OUTLINES.of(broker, engine, shown) if shown else {}
    found = []
    for one in running:
        line = lines[one.run_key]
        outline = outlines.get(line.version or "")
        task_id = outline.task_ids[one.index] if outline and one.index < len(outline.task_ids) else ""
        found.append(HomeTask(run_key=one.run_key, dag_id=line.dag_id, run_id=line.run_id, task_id=task_id, try_number=one.try_number,
                              worker=one.worker, started_at=one.started_at, duration=seconds_between(one.started_at, now), mark=one.mark))
    return found


def _queues(broker: Broker, workers: Sequence[WorkerStatus], now: datetime) -> tuple[HomeQueue, ...]:
    queues, unserved = control.queues(broker, workers), {one.queue: one.since for one in broker.unserved()}
    waits = overview.longest_waiting(broker, [one.name for one in queues if one.waiting])
    return tuple(HomeQueue(
        name=one.name, waiting=one.waiting, running=one.running, workers=one.workers, oldest=seconds_between(waits.get(one.name), now),
        unserved_since=unserved.get(one.name), paused_since=one.paused_since, paused_by=one.paused_by) for one in queues)


def _health(pulse: Pulse | None) -> tuple[Part, ...]:
    database = Part(name="database", is_well=True, detail="answers")
    if pulse is None:
        unknown = (Part(name=name, is_well=None, detail="cannot be told without Redis") for name in ("scheduler", "recorder", "archive"))
        return (Part(name="redis", is_well=False, detail="does not answer"), database, *unknown)
    late = None if pulse.beat_at is None else pulse.now - pulse.beat_at
    beats = pulse.has_leader and late is not None and late < BEAT
    beat = "none leads" if not pulse.has_leader else "leads" if late is None else f"its last look was {late.total_seconds():.0f} s ago"
    held = pulse.archive_held
    return (Part(name="scheduler", is_well=beats, detail=beat), Part(name="redis", is_well=True, detail="answers"), database,
            Part(name="recorder", is_well=beats or not pulse.events, detail=f"{pulse.events:,} events wait" if pulse.events else "all is recorded"),
            Part(name="archive", is_well=held is None, detail=f"takes no logs: {held.reason}" if held else "takes logs"))
