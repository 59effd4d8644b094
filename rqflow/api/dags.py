"""Operations on DAGs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, tzinfo
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rqflow.actions import delete as removing
from rqflow.actions import describe, query, schedule, sources, why_dag
from rqflow.actions.why_dag import WhyDag
from rqflow.api.hub import Hub
from rqflow.api.operation import Nothing, Page, about, operation
from rqflow.broker.lock import has_leader
from rqflow.dag.version import Version
from rqflow.exceptions import UsageError
from rqflow.security.roles import Role
from rqflow.states import RunState
from rqflow.store import dag_files, dags, deletions, runs
from rqflow.store.dags import DagFilter, DagRecord
from rqflow.store.deletions import Stage
from rqflow.store.engine import reading, run_in_transaction

#: Most that one page of a list has; most dates of a schedule.
MOST, MOST_DATES = 1000, 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Dag(DagRecord):
    """A DAG with how it stands: `status` in words, `last_state` that of its newest run."""

    status: str = ""
    last_state: RunState | None = None

    @classmethod
    def of(cls, record: DagRecord, last_state: RunState | None) -> Dag:
        """Return the DAG of a record."""
        known = {field.name: getattr(record, field.name) for field in fields(DagRecord)}
        return cls(**known, status=record.status, last_state=last_state)


@dataclass(frozen=True, kw_only=True, slots=True)
class ListDags:
    """Which DAGs."""

    tag: list[str] = about("Only DAGs with all of these tags.", [])
    owner: str | None = about("Only DAGs of this owner.", None)
    search: str | None = about("Only DAGs with this in their name or description.", None)
    is_paused: bool | None = about("Only those that are paused, or that are not.", None)
    state: RunState | None = about("Only DAGs whose newest run is in this state.", None)
    limit: int = about("At most so many.", 100)
    after: str | None = about("Only those whose dag_id comes after this one: `next` of the page before.", None)


@operation("dags.list", "GET", "/dags", Role.VIEWER)
def list_dags(hub: Hub, asked: ListDags) -> Page[Dag]:
    """List DAGs by name."""
    limit = within(asked.limit)
    with reading(hub.engine) as connection:
        found = dags.search(connection, DagFilter(tags=asked.tag, owner=asked.owner, text=asked.search, is_paused=asked.is_paused))
        states = runs.newest_states(connection)
    left = [Dag.of(one, states.get(one.dag_id)) for one in found if hub.sees(one) and (asked.after is None or one.dag_id > asked.after)]
    chosen = [one for one in left if asked.state in {None, one.last_state}]
    return Page(items=tuple(chosen[:limit]), next=chosen[limit - 1].dag_id if len(chosen) > limit else None)


def within(limit: int) -> int:
    """Return a limit; raises UsageError for one that is none."""
    if not 1 <= limit <= MOST:
        raise UsageError(f"limit: {limit} is not from 1 to {MOST}")
    return limit


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokenFile:
    """A file of the folder of DAGs that was not taken over as it is now: `file:line: message`, and the DAGs that stay as they were."""

    path: str
    errors: tuple[str, ...]
    dag_ids: tuple[str, ...]
    loaded_at: datetime


@operation("dags.errors", "GET", "/dag-errors", Role.VIEWER)
def list_errors(hub: Hub, _: Nothing) -> Page[BrokenFile]:
    """List what is wrong with files of the folder of DAGs."""
    with reading(hub.engine) as connection:
        found = dag_files.broken(connection)
    visible = hub.visible_dag_ids()
    return Page(items=tuple(BrokenFile(path=one.path, errors=tuple(one.errors), dag_ids=tuple(one.dag_ids), loaded_at=one.loaded_at) for one in found
                            if visible is None or visible & set(one.dag_ids)))


@dataclass(frozen=True, kw_only=True, slots=True)
class OneDag:
    """Which DAG."""

    dag_id: str = about("Its id.")


@operation("dags.get", "GET", "/dags/{dag_id}", Role.VIEWER)
def get_dag(hub: Hub, asked: OneDag) -> Dag:
    """Show one DAG."""
    found = hub.dag(asked.dag_id)
    with reading(hub.engine) as connection:
        return Dag.of(found, runs.newest_states(connection).get(found.dag_id))


@dataclass(frozen=True, kw_only=True, slots=True)
class OneVersion(OneDag):
    """Which version of a DAG."""

    version: int | None = about("Its number, from 1; the newest when not given.", None)


@operation("dags.definition", "GET", "/dags/{dag_id}/definition", Role.VIEWER)
def definition(hub: Hub, asked: OneVersion) -> Mapping[str, Any]:
    """Show what a version of a DAG defines: schedule, params, tasks, edges, groups."""
    hub.dag(asked.dag_id)
    found = query.find_version(hub.engine, asked.dag_id) if asked.version is None else query.numbered_version(hub.engine, asked.dag_id, asked.version)
    return describe.dag(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionText:
    """A version of a DAG, all of it."""

    dag_id: str
    #: Its sha, and its canonical JSON, as workers get it.
    version: str
    json: str
    #: sha of a newer version that waits for a signature; empty: none does.
    unsigned: str = ""


@operation("dags.version", "GET", "/dags/{dag_id}/version", Role.VIEWER)
def one_version(hub: Hub, asked: OneVersion) -> VersionText:
    """Show a version of a DAG as workers get it, its source included."""
    record = hub.dag(asked.dag_id)
    found = query.find_version(hub.engine, asked.dag_id) if asked.version is None else query.numbered_version(hub.engine, asked.dag_id, asked.version)
    return VersionText(dag_id=found.dag_id, version=found.sha, json=found.json, unsigned=record.unsigned or "")


@dataclass(frozen=True, kw_only=True, slots=True)
class WhyNoRun(OneDag):
    """Why no run of which DAG starts."""

    tz: str = about("Zone in which times are told: UTC or Area/City.", "UTC")


@operation("dags.why", "GET", "/dags/{dag_id}/why", Role.VIEWER)
def why_no_run(hub: Hub, asked: WhyNoRun) -> WhyDag:
    """Say why no run of a DAG starts, and what lifts that."""
    hub.dag(asked.dag_id)
    return why_dag.dag(hub.broker, hub.engine, asked.dag_id, zone(asked.tz))


def zone(name: str) -> tzinfo:
    """Return the time zone of this name; raises UsageError for one that is not known."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(f"tz: there is no time zone {name[:50]!r}", hint="Write UTC or a name such as Europe/Berlin.") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The file of a DAG as it was submitted."""

    dag_id: str
    #: Number of the version; None: the newest.
    version: int | None
    source: str


@operation("dags.source", "GET", "/dags/{dag_id}/source", Role.VIEWER)
def source(hub: Hub, asked: OneVersion) -> Source:
    """Show the file of a DAG as it was submitted."""
    hub.dag(asked.dag_id)
    return Source(dag_id=asked.dag_id, version=asked.version, source=sources.text(hub.engine, asked.dag_id, asked.version))


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeDag(OneDag):
    """What is to be changed of a DAG."""

    is_paused: bool = about("True: no scheduled run of it starts.")
    catchup: str | None = about("For one that goes on: how many of the past runs that wait are started, the last ones: a number, all or none.", None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Coming:
    """A scheduled run that has not started."""

    dag_id: str
    due_at: datetime
    logical_date: datetime
    data_interval_start: datetime
    data_interval_end: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Paused:
    """Whether a DAG is paused now, and whether that is news; the next scheduled run of one that goes on."""

    dag_id: str
    is_paused: bool
    changed: bool
    timezone: str = "UTC"
    next_run: Coming | None = None


@operation("dags.change", "PATCH", "/dags/{dag_id}", Role.OPERATOR)
def change_dag(hub: Hub, asked: ChangeDag) -> Paused:
    """Pause a DAG, or let it go on."""
    if asked.catchup is not None and asked.catchup not in {schedule.ALL, schedule.NONE} and not asked.catchup.isdecimal():
        raise UsageError(f"catchup: {asked.catchup!r} is neither a number nor all or none")
    found = hub.dag(asked.dag_id, changes=True)
    version = query.find_version(hub.engine, found.dag_id)
    if asked.is_paused:
        is_news = run_in_transaction(hub.engine, partial(schedule.pause, dag_id=found.dag_id, by=hub.person.name))
    else:
        is_news = run_in_transaction(hub.engine, partial(
            schedule.unpause, version=version, by=hub.person.name, wanted=asked.catchup,
            catchup_by_default=hub.settings.scheduler.catchup_by_default))
    schedule.set_alarms(hub.broker, hub.engine, [found.dag_id])
    hub.go_on()
    following = [] if asked.is_paused else _coming(hub, version, 1)
    return Paused(dag_id=found.dag_id, is_paused=asked.is_paused, changed=is_news, timezone=found.timezone,
                  next_run=following[0] if following else None)


def _coming(hub: Hub, version: Version, number: int) -> list[Coming]:
    with reading(hub.engine) as connection:
        following = schedule.coming(connection, version, number)
    return [Coming(dag_id=version.dag_id, due_at=one.end, logical_date=one.logical_date, data_interval_start=one.start, data_interval_end=one.end)
            for one in following]


@dataclass(frozen=True, kw_only=True, slots=True)
class NextRuns(OneDag):
    """Of which DAG, and how many."""

    number: int = about("So many.", 1)


@operation("dags.next", "GET", "/dags/{dag_id}/next", Role.VIEWER)
def next_runs(hub: Hub, asked: NextRuns) -> Page[Coming]:
    """Show when the next scheduled runs of a DAG start, and what they cover."""
    if not 1 <= asked.number <= MOST_DATES:
        raise UsageError(f"number: {asked.number} is not from 1 to {MOST_DATES}")
    hub.dag(asked.dag_id)
    version = query.find_version(hub.engine, asked.dag_id)
    return Page(items=tuple(_coming(hub, version, asked.number)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Doomed:
    """How many runs a DAG has, and the ids of those that have not ended."""

    dag_id: str
    runs: int
    active: tuple[str, ...]


@operation("dags.doomed", "GET", "/dags/{dag_id}/doomed", Role.VIEWER)
def doomed(hub: Hub, asked: OneDag) -> Doomed:
    """Show what goes when a DAG is deleted."""
    hub.dag(asked.dag_id)
    found = removing.doomed(hub.engine, asked.dag_id)
    return Doomed(dag_id=found.dag_id, runs=found.runs, active=tuple(one.run_id for one in found.active))


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteDag(OneDag):
    """Which DAG goes."""

    keep_logs: bool = about("Keep the logs of its tasks.", False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Deleted:
    """What is being deleted: a DAG with all its runs, or one run of it, by its run_key; `deletions.get` says when it is gone."""

    dag_id: str
    run_id: str = ""
    run_key: str = ""


@operation("dags.delete", "DELETE", "/dags/{dag_id}", Role.OPERATOR)
def delete_dag(hub: Hub, asked: DeleteDag) -> Deleted:
    """Delete a DAG with all of its runs, their history and their logs; what runs of it is cancelled."""
    found = hub.dag(asked.dag_id, changes=True)
    removing.delete_dag(hub.broker, hub.engine, found.dag_id, by=hub.person.name, keeps_logs=asked.keep_logs)
    hub.go_on()
    return Deleted(dag_id=found.dag_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class OneDeletion:
    """Which deletion."""

    kind: str = about("dag or run.")
    name: str = about("The dag_id, or the run_key.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Deletion:
    """How far a deletion is: whether nothing is left, and whether somebody carries it out."""

    is_gone: bool
    is_carried_out: bool


@operation("deletions.get", "GET", "/deletions/{kind}/{name}", Role.VIEWER)
def deletion(hub: Hub, asked: OneDeletion) -> Deletion:
    """Show how far the deletion of a DAG or a run is."""
    if asked.kind not in {deletions.DAG, deletions.RUN}:
        raise UsageError(f"kind: {asked.kind[:50]!r} is neither {deletions.DAG} nor {deletions.RUN}")
    with reading(hub.engine) as connection:
        stage = deletions.stage(connection, asked.kind, asked.name)
    return Deletion(is_gone=stage is not Stage.GOING, is_carried_out=has_leader(hub.broker.connection))
