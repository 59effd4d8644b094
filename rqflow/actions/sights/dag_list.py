"""The list of DAGs: how each stands, what its last runs came to, when the next one is due; and files of the folder that cannot be loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rqflow.actions.sights.schedule_words import words
from rqflow.broker.broker import Broker
from rqflow.clock import EPOCH
from rqflow.dag import timetable
from rqflow.exceptions import UsageError
from rqflow.states import RunState
from rqflow.store import dag_files, dags, run_lines
from rqflow.store.dags import DagRecord
from rqflow.store.engine import Engine, reading
from rqflow.store.run_lines import MOST_DAGS, Spot

#: DAGs of a page when nobody says how many, and runs that are shown of each.
DAGS, RUNS = 50, 25
#: Which DAGs are shown: all that are there, those not paused, the paused ones, those with unfinished runs, those whose last ended run failed.
ALL, ACTIVE, PAUSED, RUNNING, FAILING = "all", "active", "paused", "running", "failing"
SHOWS = (ALL, ACTIVE, PAUSED, RUNNING, FAILING)
#: In which order: failing ones first, then those with unfinished runs; by dag_id; by when the next run is due; as the last run was made.
BY_FAILING, BY_NAME, BY_NEXT, BY_LAST = "failing", "name", "next", "last"
SORTS = (BY_FAILING, BY_NAME, BY_NEXT, BY_LAST)


@dataclass(frozen=True, kw_only=True, slots=True)
class DagRun:
    """A run as a square."""

    run_key: str
    state: RunState
    created_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DagRow:
    """A DAG."""

    dag_id: str
    description: str
    #: As its author wrote it, and who submitted it; empty: nobody did, it is of the folder of DAGs.
    owner: str
    submitted_by: str
    tags: tuple[str, ...]
    file: str
    #: The schedule as it is kept, and in words.
    schedule: str | None
    schedule_words: str
    timezone: str
    next_run_at: datetime | None
    #: False: its file is gone, and it starts no runs by schedule.
    is_active: bool
    is_paused: bool
    #: Why, for people; None: it is not.
    paused_because: str | None
    #: True: a newer version waits for a signature.
    is_unsigned: bool
    #: Unfinished runs: those that run, and those that wait for others of the DAG.
    running: int
    queued: int
    #: Of the runs that are shown, how many have failed.
    failed: int
    #: True: the last of its runs that ended well or badly has failed.
    is_failing: bool
    #: Those made last, the newest first.
    runs: tuple[DagRun, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FileProblem:
    """A file of the folder of DAGs that was not taken over as it is now; each error is `file:line: message`."""

    path: str
    errors: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DagList:
    """A page of DAGs."""

    dags: tuple[DagRow, ...]
    #: How many there are that pass, and which of them these are.
    total: int
    offset: int
    limit: int
    #: {one of SHOWS: how many DAGs it would show}, and {tag: how many DAGs have it} by tag, of all that the person may see.
    counts: Mapping[str, int]
    tags: Mapping[str, int]
    problems: tuple[FileProblem, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Live:
    """What is known of runs that have not ended, or of whose end the history does not know yet."""

    #: {dag_id: {state: number of unfinished runs}}.
    counts: Mapping[str, Counter[RunState]]
    #: {run key: state}.
    states: Mapping[str, RunState]
    #: {dag_id: whether the last of those runs has failed whose end the history lacks}.
    ended: Mapping[str, bool]


def dag_list(broker: Broker | None, engine: Engine, *, text: str | None = None, tags: Collection[str] = (), owner: str | None = None,
             show: str = ALL, sort: str = BY_FAILING, offset: int = 0, limit: int = DAGS, sees: Callable[[DagRecord], bool] | None = None) -> DagList:
    """Return a page of the DAGs that have all of the `tags`, this `owner`, and `text` in their id or description.

    `sees` says of which DAGs the person may know; None: of all. Raises UsageError for a `show` or a `sort` that there is not.
    """
    for given, there_are in ((show, SHOWS), (sort, SORTS)):
        if given not in there_are:
            raise UsageError(f"there is no {given!r}", hint=f"There are {', '.join(there_are)}.")
    limit, offset = max(1, min(limit, MOST_DAGS)), max(0, offset)
    with reading(engine) as connection:
        known = [record for record in dags.search(connection) if sees is None or sees(record)]
        records, unfinished = run_lines.records(connection), run_lines.unfinished(connection)
        broken = dag_files.problems(connection)
    live = _live(broker, unfinished)
    failing = {dag_id for dag_id, record in records.items() if live.ended.get(dag_id, record.is_failing)}
    passing = [record for record in known if _passes(record, (text or "").casefold(), tags, owner)]
    shown = {name: [record for record in passing if _is_shown(record, name, failing, live)] for name in SHOWS}
    last = {dag_id: record.last_made for dag_id, record in records.items()}
    ordered = _sorted(shown[show], sort, failing, live, last)
    page = ordered[offset:offset + limit]
    with reading(engine) as connection:
        newest = run_lines.newest_of(connection, [record.dag_id for record in page], RUNS)
    return DagList(
        dags=tuple(_row(record, newest[record.dag_id], live) for record in page), total=len(ordered), offset=offset, limit=limit,
        counts={name: len(those) for name, those in shown.items()},
        tags=dict(sorted(Counter(tag for record in known for tag in record.tags).items())),
        # Of whose DAGs a file is nobody can say that cannot be loaded: it is shown to those who see all.
        problems=tuple(FileProblem(path=path, errors=errors) for path, errors in broken.items()) if sees is None else ())


def _live(broker: Broker | None, unfinished: Sequence[Spot]) -> _Live:
    """Return how runs stand that have not ended: as Redis says, and where it does not have one as the history does."""
    statuses = broker.run_statuses({*broker.live_runs(), *(spot.run_key for spot in unfinished)}) if broker else {}
    counts: dict[str, Counter[RunState]] = {}
    states: dict[str, RunState] = {}
    ended: dict[str, tuple[datetime, bool]] = {}
    found = [*((one.dag_id, key, one.state, one.created_at) for key, one in statuses.items()),
             *((spot.dag_id, spot.run_key, spot.state, spot.created_at) for spot in unfinished if spot.run_key not in statuses)]
    for dag_id, key, state, created_at in found:
        made = created_at or EPOCH
        states[key] = state
        if state in {RunState.QUEUED, RunState.RUNNING}:
            counts.setdefault(dag_id, Counter())[state] += 1
        elif state is not RunState.CANCELLED:
            ended[dag_id] = max((made, state is RunState.FAILED), ended.get(dag_id, (EPOCH, False)))
    return _Live(counts=counts, states=states, ended={dag_id: is_bad for dag_id, (_, is_bad) in ended.items()})


def _passes(record: DagRecord, text: str, tags: Collection[str], owner: str | None) -> bool:
    is_found = text in record.dag_id.casefold() or text in record.description.casefold()
    return is_found and {*tags} <= {*record.tags} and (owner is None or owner in {record.owner, record.submitted_by})


def _is_shown(record: DagRecord, show: str, failing: Collection[str], live: _Live) -> bool:
    if show == RUNNING:
        return record.dag_id in live.counts
    if show == FAILING:
        return record.dag_id in failing
    return show == ALL or (record.is_paused if show == PAUSED else record.is_active and not record.is_paused)


def _sorted(records: Sequence[DagRecord], sort: str, failing: Collection[str], live: _Live, last: Mapping[str, datetime]) -> list[DagRecord]:
    """Return DAGs, which come by dag_id, in another order; within what is equal they stay by dag_id."""
    if sort == BY_FAILING:
        return sorted(records, key=lambda record: (record.dag_id not in failing, record.dag_id not in live.counts))
    if sort == BY_NEXT:
        return sorted(records, key=lambda record: (record.next_run_at is None or record.is_paused, record.next_run_at or EPOCH))
    if sort == BY_LAST:
        return sorted(records, key=lambda record: last.get(record.dag_id, EPOCH), reverse=True)
    return list(records)


def _row(record: DagRecord, spots: Sequence[Spot], live: _Live) -> DagRow:
    runs = tuple(DagRun(run_key=spot.run_key, state=live.states.get(spot.run_key, spot.state), created_at=spot.created_at) for spot in spots)
    counts = live.counts.get(record.dag_id) or Counter()
    last = next((run.state for run in runs if run.state in {RunState.SUCCESS, RunState.FAILED}), None)
    return DagRow(
        dag_id=record.dag_id, description=record.description, owner=record.owner, submitted_by=record.submitted_by or "", tags=record.tags,
        file=record.file, schedule=timetable.plain(record.schedule), schedule_words=words(record.schedule, record.timezone), timezone=record.timezone,
        next_run_at=record.next_run_at, is_active=record.is_active, is_paused=record.is_paused, paused_because=record.paused_because,
        is_unsigned=record.unsigned is not None, running=counts[RunState.RUNNING], queued=counts[RunState.QUEUED],
        failed=sum(run.state is RunState.FAILED for run in runs), is_failing=last is RunState.FAILED, runs=runs)
