"""Submit: the DAGs of files that were loaded are checked against this installation, and registered; and what happens next is said."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta, tzinfo

from rqflow import clock, settings
from rqflow.actions import dag_files, pools, query, retries, schedule, signing, survey, unsigned
from rqflow.actions.people import ownership
from rqflow.actions.people.ownership import Submitter
from rqflow.actions.retries import Moved
from rqflow.actions.schedule import News
from rqflow.actions.survey import Report
from rqflow.broker.broker import Broker
from rqflow.dag import series, timetable
from rqflow.dag.series import Interval
from rqflow.dag.template import is_plain
from rqflow.dag.version import DEFAULT_POOL, TaskSpec, Version
from rqflow.exceptions import DagLoadError
from rqflow.store import connections, dags, deletions, events, runs, signatures
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction
from rqflow.store.runs import RunRecord
from rqflow.values import format_duration

#: Why a DAG is paused that nobody has paused.
AT_CREATION = "as every new DAG of the folder"


def check_pools(broker: Broker, engine: Engine, files: Iterable[Report]) -> None:
    """Raise DagLoadError for tasks with an unknown pool, or with more slots than their pool has."""
    slots = {pool.name: pool.slots for pool in pools.list_all(broker, engine) if pool.slots is not None}
    problems = [problem for report in files for problem in pool_problems(report, slots)]
    if problems:
        raise DagLoadError(problems, hint="`rqflow pool list` shows the pools, `rqflow pool set NAME SLOTS` makes one.")


def pool_problems(report: Report, slots: Mapping[str, int]) -> list[str]:
    """Return what is wrong with the pools of a file's tasks, where {pool: slots} exist. The default pool always does."""
    problems = []
    for version, task in _tasks(report):
        place = f"{report.place(version.dag_id, task.task_id)}: task {task.task_id} of DAG {version.dag_id}"
        if task.pool not in slots and task.pool != DEFAULT_POOL:
            problems.append(f"{place}: there is no pool {task.pool}")
        elif task.pool in slots and task.pool_slots > slots[task.pool]:
            problems.append(f"{place} takes {task.pool_slots} slots of pool {task.pool}, which has {slots[task.pool]}")
    return problems


def _tasks(report: Report) -> Iterator[tuple[Version, TaskSpec]]:
    return ((version, task) for version in report.versions for task in version.tasks)


def unknown_connections(engine: Engine, files: Iterable[Report]) -> list[str]:
    """Return what is to be said of SQL tasks whose Connection is neither stored nor in the environment of this process.

    A worker's environment may have it all the same. One whose name is a template is known when the task runs.
    """
    wanted = [(f"{report.place(version.dag_id, task.task_id)}: task {task.task_id} of DAG {version.dag_id}", str(task.fields.get("conn_id") or ""))
              for report in files for version, task in _tasks(report) if task.operator == "sql"]
    if not wanted:
        return []
    with reading(engine) as connection:
        known = {record.conn_id for record in connections.list_all(connection)}
    return [
        f"{where}: there is no Connection {name}" for where, name in wanted
        if name and name not in known and is_plain(name) and settings.given(f"CONN_{name.upper()}") is None
    ]


def check_connections(broker: Broker, engine: Engine, files: Iterable[Report], *, is_embedded: bool, strict: bool = False) -> list[str]:
    """Return warnings about unknown Connections; raises DagLoadError with them when `strict`, or when no worker can have them.

    That is so on the embedded default while no worker lives: those that submit starts have the environment of this process.
    """
    unknown = unknown_connections(engine, files)
    if unknown and (strict or (is_embedded and not broker.workers())):
        raise DagLoadError(unknown, hint="`rqflow conn set ID URI` stores one; or set AIRFLOW_CONN_ID in the environment.")
    return unknown


def tasks_by_queue(version: Version) -> dict[str, list[str]]:
    """Return {queue: ids of the tasks that workers take from it}."""
    found: dict[str, list[str]] = {}
    for task in version.tasks:
        if task.operator != "empty":
            found.setdefault(task.queue, []).append(task.task_id)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Registered:
    """A DAG as it was registered: its version, what was new of it, and what becomes of its schedule."""

    version: Version
    saved: dags.Saved
    news: News
    #: Why it is paused; None: it is not.
    pause_reason: str | None = None
    #: Retries that were moved, for their delay is another one now.
    moved: tuple[Moved, ...] = ()
    #: It waits for a signature, and the version of this number stays until then; 0: the DAG has no other one, and is paused.
    held_by: int | None = None


def starts_once(engine: Engine, version: Version) -> bool:
    """Tell whether the one run of a schedule of @once is still to be made, and nothing holds the version back."""
    return series.is_once(version) and last_run(engine, version.dag_id) is None and not waits(engine, version)


def register(broker: Broker, engine: Engine, versions: Sequence[Version], *, catchup_by_default: bool = False, wanted: str | None = None,
             restores: bool = False, files: Sequence[Report] = (), starts: Collection[str] = (), paused_at_creation: bool | None = None,
             holds: bool = False, submitter: Submitter | None = None) -> list[Registered]:
    """Save the versions as those that new runs take, follow their schedules, and give Redis the pools that they use.

    `files` tell where they come from, `starts` which DAGs of @once the caller starts. `wanted` is how many past runs a person asked for.
    `paused_at_creation` says whether new DAGs start paused that do not say it themselves: for those that no person submits, and of these many past
    runs wait in place of ManyRuns. Raises ManyRuns when that must be said, Conflict for a DAG of another file in the folder, and for one that was
    deleted unless this `restores` it, which a person's wish alone may, and NotPermitted for one that lacks a signature, unless this `holds` such back
    until somebody signs them, and for one that is another's than the `submitter`'s (None: they come from the folder of DAGs, and new ones are the
    administrators'); nothing is saved then.
    """
    now = clock.utcnow()
    lacking = unsigned.lacking(engine, broker.settings, versions)
    if not holds:
        unsigned.refuse(lacking)
    inputs = {version.dag_id: report.inputs.digest for report in files if report.inputs for version in report.versions}

    def one(connection: Connection, version: Version) -> Registered:
        starts_paused = bool(paused_at_creation) if version.paused_at_creation is None else version.paused_at_creation
        if restores:
            deletions.lift(connection, version.dag_id)
        lacks = version.dag_id in lacking
        if lacks and (held := _hold(connection, version)):
            return held
        saved = dags.save_version(connection, version, inputs=inputs.get(version.dag_id), submitted_by=submitter.person.name if submitter else None,
                                  pause_reason=unsigned.NEVER_SIGNED if lacks else AT_CREATION if starts_paused else None)
        news = schedule.follow(connection, version, now, catchup_by_default=catchup_by_default, wanted=wanted, may_ask=paused_at_creation is None,
                               starts_once=version.dag_id in starts)
        signatures.hold(connection, version.dag_id, version.sha if lacks else None)
        if not lacks and dags.find(connection, version.dag_id).pause_reason == unsigned.NEVER_SIGNED:
            schedule.release(connection, version, now, reason=AT_CREATION if starts_paused else None, catchup_by_default=catchup_by_default)
        return Registered(version=version, saved=saved, news=news, pause_reason=dags.find(connection, version.dag_id).paused_because,
                          held_by=0 if lacks else None)

    def check_owner(connection: Connection) -> None:
        if submitter:
            ownership.check_submit(connection, submitter, [version.dag_id for version in versions])

    def write(connection: Connection) -> list[Registered]:
        dag_files.check(connection, files, survey.dags_folder(broker.settings))
        check_owner(connection)
        registered = [one(connection, version) for version in versions]
        # Once more, now that the rows are locked: another's first submit may have come between.
        check_owner(connection)
        dag_files.note(connection, files, dag_files.loaded_by(broker.settings), now)
        return registered

    registered = run_in_transaction(engine, write)
    pools.send(broker, engine)
    signing.send(broker, versions)
    schedule.set_alarms(broker, engine, [version.dag_id for version in versions])
    return [replace(one, moved=tuple(_aligned(broker, engine, one))) for one in registered]


def _hold(connection: Connection, version: Version) -> Registered | None:
    """Keep a version that lacks a signature, while its DAG goes on with the one that it has; None when it has none."""
    saved = dags.hold_version(connection, version)
    if saved is None or saved.before is None:
        return None
    if saved.is_new:
        events.add(connection, "version_unsigned", who="", dag_id=version.dag_id, version=version.sha)
    return Registered(version=version, saved=saved, news=News(), pause_reason=dags.find(connection, version.dag_id).paused_because,
                      held_by=dags.number_of(connection, saved.before))


def _aligned(broker: Broker, engine: Engine, registered: Registered) -> list[Moved]:
    """Move the retries that wait and have another delay now."""
    if registered.held_by is not None or not registered.saved.is_change or registered.saved.before is None:
        return []
    with reading(engine) as connection:
        before = dags.version(connection, registered.saved.before)
    return retries.align(broker, engine, before, registered.version) if before else []


def waits(engine: Engine, version: Version) -> bool:
    """Tell whether a DAG is paused, or will be once it is registered: its scheduled runs wait for a person."""
    with reading(engine) as connection:
        record = dags.get(connection, version.dag_id)
    return record.is_paused if record else bool(version.paused_at_creation)


def last_run(engine: Engine, dag_id: str) -> RunRecord | None:
    """Return the run of a DAG that was made last, or None."""
    with reading(engine) as connection:
        return runs.latest(connection, dag_id)


def what_next(broker: Broker, engine: Engine, registered: Registered, viewer: tzinfo, *, by_hand: str = "add --run") -> str:
    """Return what happens next with a DAG of which no run was started by hand, times by the DAG's clock and the viewer's.

    `by_hand` says how a run is started.
    """
    version, news = registered.version, registered.news
    if registered.held_by is not None:
        stays = f"version {registered.held_by} stays until then" if registered.held_by else "refuse its tasks until then"
        return f"unsigned: its workers run only what is signed, and {stays}: {unsigned.HOW}"
    if registered.pause_reason is not None and (news.next or series.is_once(version)):
        return f"paused ({registered.pause_reason}): {news.waiting_words}`rqflow dag unpause {version.dag_id}` lets its scheduled runs start"
    changed = "its schedule or its start is another one than before, and counts from now on; " if news.is_changed else ""
    if news.next:
        return f"{changed}{news.left_out_words}{news.started_words}next run {words(news.next, version.timezone, viewer)}"
    if timetable.of(version).has_series and version.end_date:
        return f"{changed}no run comes by itself, for its end_date {version.end_date} is over: {by_hand}"
    found = query.list_runs(broker, engine, runs.RunFilter(dag_id=version.dag_id), limit=1)
    if not series.is_once(version) or not found:
        return f"{'it has no schedule any more, and ' if news.is_changed else ''}nothing starts by itself: {by_hand}"
    last = found[0]
    when = f", {last.ended_at.isoformat(timespec='seconds')}" if last.ended_at else ""
    return f"@once has run ({last.state.value}{when}): --run for another"


def words(interval: Interval, timezone: str, viewer: tzinfo) -> str:
    """Return when a scheduled run starts and what it covers, by the clock of its DAG, and by the viewer's where that is another."""
    own = timetable.zone(timezone)
    covers = f", covers [{interval.start.astimezone(own):%Y-%m-%d %H:%M:%S}, {interval.end.astimezone(own):%Y-%m-%d %H:%M:%S})"
    return f"at {timetable.by_clocks(interval.end, timezone, viewer)}{covers if interval.start != interval.end else ''}"


def describe(registered: Registered) -> str:
    """Return one line about a registered DAG."""
    version, saved = registered.version, registered.saved
    tasks = f"{len(version.tasks)} task{'s' if len(version.tasks) != 1 else ''}"
    news = "unchanged" if not saved.is_new else f"version {saved.number}"
    return f"{version.dag_id}: {tasks}, schedule {schedule_words(version.schedule) or 'none'}, {news}"


def schedule_words(schedule: str | None) -> str:
    """Return a schedule as people read it: a length of time as `every 1d` or `every 2 months`, any other as it was written."""
    schedule = timetable.plain(schedule)
    kind, _, rest = (schedule or "").partition(":")
    if kind == "timedelta":
        return f"every {format_duration(timedelta(seconds=float(rest)))}"
    if kind == "relativedelta":
        parts = (part.partition("=") for part in rest.split(","))
        return "every " + ", ".join(f"{number} {name if number != '1' else name.removesuffix('s')}" for name, _, number in parts)
    return schedule or ""
