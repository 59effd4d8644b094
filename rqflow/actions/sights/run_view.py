"""A run on one page: what it is, its tasks in the order of the grid with what each waits for in a line, its groups, how many are in which state.

`why` of a task is told from what was read for all of them; actions.why looks closer at one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from rqflow import clock
from rqflow.actions import query
from rqflow.actions.drawing import WORST_FIRST
from rqflow.actions.model import Run, seconds_between
from rqflow.actions.sights.outline import OUTLINES, Outline, OutlineTask
from rqflow.broker import control
from rqflow.broker.broker import Broker
from rqflow.broker.events import is_before
from rqflow.broker.rows import removed_tasks
from rqflow.broker.status import CANCEL_REQUESTED, UNREACHABLE, RunStatus, TaskStatus
from rqflow.exceptions import RunNotFound
from rqflow.states import TERMINAL_RUN_STATES, TERMINAL_STATES, RunState, TaskState
from rqflow.store import dags, runs, sla, task_states
from rqflow.store.engine import Engine, reading
from rqflow.store.task_states import TaskLine

#: Tasks that a reason names.
_NAMES = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class RunTask:
    """A task of the run."""

    task_id: str
    #: Its id without those of its group.
    label: str
    operator: str
    group_id: str
    depth: int
    state: TaskState
    #: On a running one: unreachable, cancel requested, or nothing.
    mark: str
    try_number: int
    max_tries: int
    #: What it waits for, or why it ended so, in a line; empty: nothing is to be said.
    why: str
    worker: str
    queue: str
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    #: When its delay is over.
    due_at: datetime | None
    #: Seconds that its current or last try took, until now while it runs; None: it has not begun.
    duration: float | None
    #: True: it did not end in its sla.
    is_late: bool
    #: sha of the version that it follows where that is not its run's.
    version: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunGroup:
    """A task group: the tasks at the places from `start` to before `stop`. A group stands before those that it holds."""

    group_id: str
    label: str
    parent: str
    depth: int
    start: int
    stop: int
    #: The worst state of its tasks, and {state: how many are in it}.
    state: TaskState | None
    counts: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPage:
    """A run."""

    #: What it is and how it stands; without tasks.
    run: Run
    #: Seconds from its start to its end, or until now; None: it has not started.
    duration: float | None
    #: Number of its version; None: it is not known any more. Whether new runs take that one.
    version_number: int | None
    is_newest_version: bool
    tasks: tuple[RunTask, ...]
    groups: tuple[RunGroup, ...]
    #: {state: how many tasks are in it}, states in which none is left out.
    counts: Mapping[str, int]
    #: True: Redis tells of it, and more may happen.
    is_live: bool
    #: Id of the last event that it includes; empty for a run that Redis does not have.
    last_event: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """What was read of a run."""

    run: Run
    outline: Outline
    live: Mapping[int, TaskStatus]
    recorded: Mapping[int, TaskLine]
    late: Mapping[str, datetime]
    removed: frozenset[int]
    #: {queue: what keeps its tasks waiting}.
    queues: Mapping[str, str]
    now: datetime

    def state(self, index: int) -> TaskState:
        """Return the state of a task."""
        if index in self.removed:
            # Of what a run has no instance of nothing is ever told.
            return TaskState.REMOVED
        if index in self.live:
            return self.live[index].state
        return _STATES[self.recorded[index].state] if index in self.recorded else TaskState.PENDING


_STATES = {state.value: state for state in TaskState}


def run_page(broker: Broker | None, engine: Engine, run_key: str) -> RunPage:
    """Return a run with its tasks; raises RunNotFound."""
    # Before SQL is asked: what a recorder writes between the two is then in both.
    status = broker.run_statuses([run_key]).get(run_key) if broker else None
    is_live = broker is not None and status is not None and _is_live(broker, status)
    live = {one.index: one for one in broker.task_statuses(run_key)} if broker and is_live else {}
    with reading(engine) as connection:
        record = runs.by_key(connection, run_key)
        if record is None:
            raise RunNotFound(f"there is no run {run_key}")
        number = dags.number_of(connection, record.version) if record.version else None
        newest = dags.get(connection, record.dag_id)
        late = sla.missed(connection, run_key)
        recorded = {} if live else task_states.of_run(connection, run_key)
    outline = OUTLINES.of(broker, engine, [record.version]).get(record.version or "")
    run, now = replace(query.as_run(record, status), sla_misses=len(late)), clock.utcnow()
    tasks: tuple[RunTask, ...] = ()
    if outline is not None:
        removed = removed_tasks(outline.bare, record.info) if record.info else frozenset()
        known = _Known(run=run, outline=outline, live=live, recorded=recorded, late=late, removed=removed, queues=_queues(broker, live), now=now)
        tasks = tuple(_task(known, task) for task in outline.tasks)
    return RunPage(
        run=run, duration=seconds_between(run.started_at, run.ended_at or now), version_number=number,
        is_newest_version=newest is not None and newest.version == record.version, tasks=tasks, groups=_groups(outline, tasks) if outline else (),
        counts=_counted(tasks), is_live=is_live, last_event=status.last_event if status else "")


def _is_live(broker: Broker, status: RunStatus) -> bool:
    """Tell whether Redis is to tell of the tasks of a run: it has not ended, or the history does not have all of it yet."""
    return status.state not in TERMINAL_RUN_STATES or not (status.last_event and is_before(status.last_event, broker.recorded_upto()))


def _queues(broker: Broker | None, live: Mapping[int, TaskStatus]) -> dict[str, str]:
    """Return {queue: what keeps its tasks waiting} of those on which nothing can begin now."""
    if broker is None or not any(one.state is TaskState.QUEUED for one in live.values()):
        return {}
    paused = {queue: f"the queue {queue} is paused by {halt.by}" for queue, halt in control.paused_queues(broker).items()}
    return paused | {one.queue: str(one) for one in broker.unserved()}


def _task(known: _Known, task: OutlineTask) -> RunTask:
    spec, index = known.outline.bare.tasks[task.index], task.index
    live, line, state = known.live.get(index), known.recorded.get(index), known.state(index)
    found: TaskStatus | TaskLine | None = live or line
    started_at, ended_at = (found.started_at, found.ended_at if state in TERMINAL_STATES else None) if found else (None, None)
    until = ended_at or (known.now if state is TaskState.RUNNING else None)
    return RunTask(
        task_id=task.task_id, label=task.label, operator=task.operator, group_id=task.group_id, depth=task.depth, state=state,
        mark=_mark(live, state), try_number=found.try_number if found else 0, max_tries=found.max_tries if found else spec.retries + 1,
        why=_why(known, index, state), worker=found.worker if found else "", queue=spec.queue, queued_at=live.queued_at if live else None,
        started_at=started_at, ended_at=ended_at, due_at=live.due_at if live else None, duration=seconds_between(started_at, until),
        is_late=task.task_id in known.late, version=(found.version or None) if found else None)


def _mark(live: TaskStatus | None, state: TaskState) -> str:
    if live is None or state is not TaskState.RUNNING:
        return ""
    return UNREACHABLE if live.unreachable_since else CANCEL_REQUESTED if live.cancel_requested else ""


def _why(known: _Known, index: int, state: TaskState) -> str:
    """Return what a task waits for, or why it ended so."""
    live = known.live.get(index)
    if state is TaskState.PENDING:
        return _pending(known, index)
    if live is None:
        return known.recorded[index].reason if index in known.recorded else ""
    if state is TaskState.QUEUED:
        return known.queues.get(live.queue) or live.reason or f"waits for a free slot on the queue {live.queue}"
    if state in {TaskState.UP_FOR_RETRY, TaskState.UP_FOR_RESCHEDULE} and live.due_at:
        what = f"try {live.try_number + 1} of {live.max_tries}" if state is TaskState.UP_FOR_RETRY else "its next look"
        return f"{what} is due at {live.due_at:%Y-%m-%d %H:%M:%S} UTC{f'; {live.reason}' if live.reason else ''}"
    if state is TaskState.RUNNING and live.unreachable_since:
        return query.marks(live, {})
    return live.reason


def _pending(known: _Known, index: int) -> str:
    if known.run.state is RunState.QUEUED:
        return "its run waits for another one of the DAG to end"
    tasks = known.outline.bare.tasks
    awaited = [up for up in tasks[index].upstream if known.state(up) not in TERMINAL_STATES]
    if not awaited:
        return "" if known.run.is_finished else "a moment: what it depends on has ended"
    names = ", ".join(tasks[up].task_id for up in awaited[:_NAMES])
    return f"waits for {names}{f' and {len(awaited) - _NAMES} more' if len(awaited) > _NAMES else ''}"


def _groups(outline: Outline, tasks: Sequence[RunTask]) -> tuple[RunGroup, ...]:
    found = []
    for group in outline.groups:
        counts = _counted(tasks[group.start:group.stop])
        found.append(RunGroup(
            group_id=group.group_id, label=group.label, parent=group.parent, depth=group.depth, start=group.start, stop=group.stop,
            state=next((state for state in WORST_FIRST if state.value in counts), None), counts=counts))
    return tuple(found)


def _counted(tasks: Sequence[RunTask]) -> dict[str, int]:
    counts = Counter(task.state for task in tasks)
    return {state.value: counts[state] for state in TaskState if counts[state]}
