"""Which task instances a person means: of one run, of the runs before and after it, or of runs of a DAG by date and state."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from rqflow.actions import markers, query, select
from rqflow.broker.broker import Broker
from rqflow.dag import patterns
from rqflow.dag.version import TaskSpec, Version
from rqflow.exceptions import RqflowError, TaskNotFound, UsageError
from rqflow.states import FAILURE_STATES, RunState, TaskState
from rqflow.store import dags, runs, tasks
from rqflow.store.engine import Engine, reading
from rqflow.store.runs import RunFilter, RunRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """Which tasks of a run are meant, and whether those of other runs are too."""

    #: As select.tasks reads it.
    selector: str = "*"
    #: A regular expression that is searched for in task ids, in place of the selector, as Airflow's -t is.
    regex: str | None = None
    upstream: bool = False
    downstream: bool = False
    #: Of these only those that failed, were lost, or did not run because of that; only those that run.
    only_failed: bool = False
    only_running: bool = False
    #: None of the tasks of SubDags, which are groups; a file for Airflow 1 can have no other groups.
    no_subdags: bool = False
    #: The same tasks of all runs of the DAG with an earlier, or a later, logical date too.
    past: bool = False
    future: bool = False
    #: Of these runs those whose logical date lies between, both included; without `past` and `future` of all runs of the DAG.
    since: datetime | None = None
    until: datetime | None = None

    @property
    def reaches_others(self) -> bool:
        """Whether tasks of other runs of the DAG are meant too."""
        return bool(self.past or self.future or self.since or self.until)

    def __post_init__(self) -> None:
        """Raise UsageError for what contradicts itself."""
        if self.only_failed and self.only_running:
            raise UsageError("--only-failed and --only-running exclude each other")
        if self.regex is not None and self.selector != "*":
            raise UsageError("--task and --regex exclude each other")
        _check_range(self.since, self.until)
        if self.regex is not None:
            patterns.check(self.regex)


def _check_range(since: datetime | None, until: datetime | None) -> None:
    if since and until and until < since:
        raise UsageError(f"no date is from {since.isoformat()} to {until.isoformat()}", hint="The end lies before the start.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """The tasks of one run that are meant, in topological order, and the states that its tasks have."""

    run: RunRecord
    tasks: tuple[TaskSpec, ...]
    states: Mapping[str, TaskState]

    @property
    def indices(self) -> list[int]:
        """Their indices."""
        return [task.index for task in self.tasks]

    def only(self, indices: Collection[int]) -> Chosen:
        """Return the same with these of them alone."""
        return replace(self, tasks=tuple(task for task in self.tasks if task.index in indices))


def of_run(broker: Broker, engine: Engine, run: RunRecord, scope: Scope) -> list[Chosen]:
    """Return what a scope means, run by run, the earliest date first; runs of which it means nothing are left out.

    Raises TaskNotFound when it names no task of `run` itself.
    """
    reader = _Reader(broker, engine, scope)
    own = reader.choose(run, must=True)
    found = [own] if own.tasks else []
    if scope.reaches_others and run.logical_date is not None:
        with reading(engine) as connection:
            others = runs.search(connection, RunFilter(dag_id=run.dag_id))
        found += [reader.choose(other) for other in others if _is_beside(other, run, scope)]
    return _in_order([*found, *reader.marked(found)])


def of_dag(broker: Broker, engine: Engine, dag_id: str, scope: Scope, *, since: datetime | None = None, until: datetime | None = None,
           states: Collection[RunState] = ()) -> list[Chosen]:
    """Return what a scope means in the runs of a DAG whose logical date is from `since` to `until`, both included, and that are in `states`.

    Raises DagNotFound, and TaskNotFound when no run has a task that it names.
    """
    _check_range(since, until)
    with reading(engine) as connection:
        dags.find(connection, dag_id)
        # By what the history says of them; what Redis says of those that are unfinished there counts more.
        found = [run for run in runs.search(connection, RunFilter(dag_id=dag_id)) if _is_between(run, since, until)]
    reader = _Reader(broker, engine, scope)
    if states:
        found = [run for run in found if reader.state(run) in states]
    chosen = [reader.choose(run) for run in found]
    chosen = _in_order([*chosen, *reader.marked(chosen)])
    if found and not reader.names:
        raise reader.missing or TaskNotFound(f"no run of {dag_id} has such a task")
    return chosen


def of_runs(broker: Broker, engine: Engine, found: Sequence[RunRecord], scope: Scope) -> list[Chosen]:
    """Return what a scope means in these runs, the earliest date first; runs of which it means nothing are left out."""
    reader = _Reader(broker, engine, scope)
    return _in_order([reader.choose(run) for run in found])


def _is_beside(other: RunRecord, own: RunRecord, scope: Scope) -> bool:
    """Tell whether another run is meant beside a person's own."""
    date, its = own.logical_date, other.logical_date
    if date is None or its is None or other.run_key == own.run_key or not _is_between(other, scope.since, scope.until):
        return False
    return (scope.past and its < date) or (scope.future and its > date) or not (scope.past or scope.future)


def _is_between(run: RunRecord, since: datetime | None, until: datetime | None) -> bool:
    if run.logical_date is None:
        return since is None and until is None
    return (since is None or run.logical_date >= since) and (until is None or run.logical_date <= until)


def _in_order(found: Sequence[Chosen]) -> list[Chosen]:
    return sorted((one for one in found if one.tasks), key=lambda one: (one.run.logical_date is not None, one.run.logical_date, one.run.run_id))


class _Reader:
    """Chooses among the tasks of runs; reads each version once."""

    def __init__(self, broker: Broker, engine: Engine, scope: Scope) -> None:
        self._broker, self._engine, self._scope = broker, engine, scope
        self._versions: dict[str, Version] = {}
        #: Whether some task was named, and what was said where none was.
        self.names = False
        self.missing: TaskNotFound | None = None

    def choose(self, run: RunRecord, *, must: bool = False) -> Chosen:
        """Return what is meant of a run; nothing where it has no such task, unless it `must`: then raise TaskNotFound."""
        try:
            version = self._version(run)
            states = self._states(run, version)
            named = self._named(version, states)
        except TaskNotFound as error:
            if must:
                raise
            self.missing = error
            return Chosen(run=run, tasks=(), states={})
        except RqflowError:
            if must:
                raise
            # A run of which only events have told.
            return Chosen(run=run, tasks=(), states={})
        self.names = True
        found = (version.tasks[index] for index in sorted(named))
        return Chosen(run=run, tasks=tuple(task for task in found if self._passes(version, task, states.get(task.task_id))), states=states)

    def marked(self, chosen: Sequence[Chosen]) -> list[Chosen]:
        """Return what must run again in other DAGs, by the markers among what was chosen; nothing unless downstream is meant."""
        if not self._scope.downstream:
            return []
        known: dict[str, tuple[RunRecord, set[int]]] = {}

        def choose(run: RunRecord, task_id: str) -> tuple[TaskSpec, ...]:
            inner = _Reader(self._broker, self._engine, replace(self._scope, selector=task_id, regex=None, upstream=False, past=False, future=False))
            there = inner.choose(run)
            known.setdefault(run.run_key, (run, set()))[1].update(there.indices)
            return there.tasks

        for one in chosen:
            markers.follow(self._engine, one.run, one.tasks, self._version, choose)
        own = {one.run.run_key for one in chosen}
        whole = _Reader(self._broker, self._engine, Scope())
        return [whole.choose(run).only(indices) for key, (run, indices) in known.items() if key not in own]

    def state(self, run: RunRecord) -> RunState:
        """Return the state of a run, by Redis where it has it."""
        status = None if run.is_finished else self._broker.run_status(run.run_key)
        return status.state if status else run.state

    def _version(self, run: RunRecord) -> Version:
        sha = run.version or ""
        if sha not in self._versions:
            self._versions[sha] = query.version_of(self._broker, self._engine, run)
        return self._versions[sha]

    def _states(self, run: RunRecord, version: Version) -> dict[str, TaskState]:
        if self._broker.run_exists(run.run_key):
            return {task.task_id: task.state for task in query.live_tasks(self._broker, run.run_key, version)}
        with reading(self._engine) as connection:
            return {task.task_id: task.state for task in tasks.of_run(connection, run.run_key)}

    def _named(self, version: Version, states: Mapping[str, TaskState]) -> set[int]:
        scope = self._scope
        if scope.regex is None:
            indices = set(select.tasks(version, scope.selector, states))
        else:
            indices = {version.tasks[place].index for place in patterns.found_in(scope.regex, [task.task_id for task in version.tasks])}
            if not indices:
                raise TaskNotFound(f"{version.dag_id} has no task that matches {scope.regex}")
        return indices | select.beside(version, indices, upstream=scope.upstream, downstream=scope.downstream)

    def _passes(self, version: Version, task: TaskSpec, state: TaskState | None) -> bool:
        scope = self._scope
        if scope.no_subdags and version.generation == "1" and task.group_id:
            return False
        return (not scope.only_failed or state in FAILURE_STATES) and (not scope.only_running or state is TaskState.RUNNING)
