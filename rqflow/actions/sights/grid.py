"""The grid of a DAG: its tasks × some of its runs, each state one character.

A run's `states` has one character for each of `Grid.tasks`, `group_states` one for each of `Grid.groups`; `Grid.codes` says which state each
character is, and a space that the run's version has no such task. The first `known` tasks are those of the newest version; behind them stand those
that only older runs have.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rqflow import clock
from rqflow.actions.model import seconds_between
from rqflow.actions.sights import sequence
from rqflow.actions.sights.outline import OUTLINES, Outline, OutlineTask
from rqflow.actions.sights.overlay import Overlaid, differing, laid_over
from rqflow.actions.sights.sequence import SEQUENCES, TaskSequence, arranged
from rqflow.broker.broker import Broker
from rqflow.exceptions import RunNotFound, UsageError
from rqflow.states import RunState
from rqflow.store import dags, run_lines
from rqflow.store.engine import Connection, Engine, reading
from rqflow.store.run_lines import RunLine, Wanted

#: Runs that a grid has when nobody says how many, and at most.
RUNS, MOST_RUNS = 25, 200


@dataclass(frozen=True, kw_only=True, slots=True)
class GridTask:
    """A row: a task."""

    task_id: str
    #: Its id without that of its group.
    label: str
    operator: str
    #: The group that it is in; empty: none.
    group_id: str
    #: How many groups it is in.
    depth: int
    #: True: the newest version does not have it.
    is_gone: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class GridGroup:
    """A task group: the tasks at the places from `start` to before `stop`. A group stands before those that it holds."""

    group_id: str
    label: str
    #: The group around it; empty: none.
    parent: str
    depth: int
    start: int
    stop: int
    tooltip: str


@dataclass(frozen=True, kw_only=True, slots=True)
class GridRun:
    """A column: a run."""

    run_key: str
    run_id: str
    run_type: str | None
    #: The person who started it; empty: a schedule, or an older release.
    started_by: str
    state: RunState
    #: True: somebody asked for its end, and it has not come to it.
    cancel_requested: bool
    logical_date: datetime | None
    data_interval_end: datetime | None
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    #: Seconds from its start to its end, or until now; None: it has not started.
    duration: float | None
    backfill_id: int | None
    version: str | None
    #: A character a task, and one a group: the worst state of its tasks.
    states: str
    group_states: str
    #: {place of a task: its try}, where that is more than 1.
    tries: Mapping[int, int] = field(default_factory=dict)
    #: {place of a task that runs: unreachable or cancel requested}.
    marks: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """Tasks × runs."""

    dag_id: str
    #: sha of the newest version; None: there is none.
    version: str | None
    tasks: tuple[GridTask, ...]
    #: How many of the tasks the newest version has.
    known: int
    groups: tuple[GridGroup, ...]
    #: The run made last first.
    runs: tuple[GridRun, ...]
    #: {character: state}.
    codes: Mapping[str, str]
    #: Run keys to page from: `before` the one gives older runs, `after` the other newer ones; None: there are no more.
    older: str | None
    newer: str | None


def grid(broker: Broker | None, engine: Engine, dag_id: str, *, limit: int = RUNS, before: str | None = None, after: str | None = None,
         run_types: Collection[str] | None = None, states: Collection[RunState] | None = None) -> Grid:
    """Return the grid of a DAG with its newest runs, or those made `before` or `after` the run of this key, of these types and states.

    Raises DagNotFound, RunNotFound, and UsageError when both are given.
    """
    if before is not None and after is not None:
        raise UsageError("a grid pages from one run: before it, or after it")
    limit = max(1, min(limit, MOST_RUNS))
    with reading(engine) as connection:
        record = dags.find(connection, dag_id)
        anchor = _anchor(connection, before or after)
        wanted = Wanted(dag_id=dag_id, run_types=run_types, states=states)
        unfinished = run_lines.unfinished_keys(connection, dag_id) if states is not None else []
        lines = [] if states is not None else run_lines.page(connection, wanted, limit=limit + 1, anchor=anchor, newer=after is not None)
    if states is not None:
        also, but = differing(broker, unfinished, states)
        with reading(engine) as connection:
            wanted = Wanted(dag_id=dag_id, run_types=run_types, states=states, also=also, but=but)
            lines = run_lines.page(connection, wanted, limit=limit + 1, anchor=anchor, newer=after is not None)
    has_more = len(lines) > limit
    shown = lines[-limit:] if after is not None else lines[:limit]
    has_older, has_newer = (True, has_more) if after is not None else (has_more, before is not None)
    return _made(broker, engine, dag_id, record.version, laid_over(broker, engine, shown),
                 older=shown[-1].run_key if shown and has_older else None, newer=shown[0].run_key if shown and has_newer else None)


def _anchor(connection: Connection, run_key: str | None) -> RunLine | None:
    if run_key is None:
        return None
    found = run_lines.by_keys(connection, [run_key])
    if not found:
        raise RunNotFound(f"there is no run {run_key}")
    return found[0]


def _made(broker: Broker | None, engine: Engine, dag_id: str, version: str | None, runs: Overlaid, *, older: str | None, newer: str | None) -> Grid:
    outlines = OUTLINES.of(broker, engine, {version, *(line.version for line in runs.lines)})
    sequences = SEQUENCES.of(broker, engine, runs, outlines)
    newest = outlines.get(version or "")
    tasks = [_task(task, is_gone=False) for task in newest.tasks] if newest else []
    known = len(tasks)
    tasks += _gone({task.task_id for task in tasks}, [outlines[line.version] for line in runs.lines if line.version in outlines])
    groups = tuple(GridGroup(**{name: getattr(group, name) for name in GridGroup.__slots__}) for group in newest.groups) if newest else ()
    places = {sha: _places(tasks, outline) for sha, outline in outlines.items()}
    now = clock.utcnow()
    made = tuple(_run(line, runs, _sequence(sequences.get(line.run_key), places.get(line.version or ""), len(tasks)), groups, now)
                 for line in runs.lines)
    return Grid(dag_id=dag_id, version=version, tasks=tuple(tasks), known=known, groups=groups, runs=made, codes=sequence.STATES, older=older,
                newer=newer)


def _task(task: OutlineTask, *, is_gone: bool) -> GridTask:
    return GridTask(task_id=task.task_id, label=task.task_id if is_gone else task.label, operator=task.operator,
                    group_id="" if is_gone else task.group_id, depth=0 if is_gone else task.depth, is_gone=is_gone)


def _gone(known: set[str], outlines: Sequence[Outline]) -> list[GridTask]:
    """Return the tasks that only these versions have, those of the first ones first."""
    found: dict[str, GridTask] = {}
    for outline in {each.version: each for each in outlines}.values():
        for task in outline.tasks:
            if task.task_id not in known and task.task_id not in found:
                found[task.task_id] = _task(task, is_gone=True)
    return list(found.values())


def _places(tasks: Sequence[GridTask], outline: Outline) -> list[int | None]:
    """Return for each row of the grid the index of its task in a version."""
    index = {task_id: number for number, task_id in enumerate(outline.task_ids)}
    return [index.get(task.task_id) for task in tasks]


def _sequence(found: TaskSequence | None, places: Sequence[int | None] | None, length: int) -> TaskSequence:
    return TaskSequence(states=sequence.ABSENT * length) if found is None or places is None else arranged(found, places)


def _run(line: RunLine, runs: Overlaid, found: TaskSequence, groups: Sequence[GridGroup], now: datetime) -> GridRun:
    return GridRun(
        run_key=line.run_key, run_id=line.run_id, run_type=line.run_type, started_by=line.started_by or "", state=line.state,
        cancel_requested=runs.is_cancelling(line.run_key),
        logical_date=line.logical_date, data_interval_end=line.data_interval_end, created_at=line.created_at, started_at=line.started_at,
        ended_at=line.ended_at, duration=seconds_between(line.started_at, line.ended_at or now), backfill_id=line.backfill_id, version=line.version,
        states=found.states, group_states="".join([sequence.worst(found.states[group.start:group.stop]) for group in groups]),
        tries=found.tries, marks=found.marks)
