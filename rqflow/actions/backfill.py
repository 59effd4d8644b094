"""Backfills: what a person asks for is checked against the DAG and its schedule, written down, and steered. The leading scheduler carries it on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from rqflow import clock
from rqflow.actions import pools, query, trigger
from rqflow.broker.broker import Broker
from rqflow.dag import backfill as dates_of
from rqflow.dag import partial, series, timetable
from rqflow.dag.backfill import Choice, Rerun
from rqflow.dag.run import AS_IT_IS, BACKFILL, RunOptions
from rqflow.dag.series import Interval, Series
from rqflow.dag.version import Version
from rqflow.exceptions import Conflict, NotFound, PoolNotFound, TaskNotFound, UsageError
from rqflow.states import BackfillState
from rqflow.store import backfills, dags, events, schedules
from rqflow.store.backfills import BackfillRecord
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction
from rqflow.store.schedules import Followed

#: Dates of which is asked at once whether they have runs.
_PART = 500
#: Names that a message lists at most.
_NAMES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What a person asks for."""

    dag_id: str
    #: First and last logical date; one without a zone is meant by the DAG's clock.
    first: datetime
    last: datetime
    rerun: Rerun = Rerun.MISSING
    newest_first: bool = False
    #: Runs that are active at the same time; None: as many as the DAG allows.
    max_active: int | None = None
    options: RunOptions = AS_IT_IS
    marks: bool = False
    ignores_first_past: bool = False
    conf: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A backfill that can be started: nothing is wrong with it."""

    wish: Wish
    version: Version
    dates: Series
    #: First and last date.
    first: datetime
    last: datetime
    #: How many dates there are, and whether that is counted: else it is an estimate.
    total: int
    is_counted: bool
    #: Ids of the tasks that its runs have.
    tasks: tuple[str, ...]
    #: What a person should know of the dates that were asked for.
    notes: tuple[str, ...] = ()

    @property
    def number_words(self) -> str:
        """How many dates there are, for people."""
        return number_words(self.total, is_counted=self.is_counted)

    def intervals(self) -> Iterator[Interval]:
        """Give its dates, in its order."""
        return self.dates.between(self.first, self.last, newest_first=self.wish.newest_first)


def number_words(total: int, *, is_counted: bool) -> str:
    """Return how many dates there are, for people."""
    return f"{'' if is_counted else 'about '}{total:,} date{'' if total == 1 else 's'}"


def plan(broker: Broker, engine: Engine, wish: Wish) -> Planned:
    """Return the backfill that is asked for; nothing is written.

    Raises DagNotFound, TaskNotFound, PoolNotFound, Conflict, or UsageError with what is wrong and what to do about it.
    """
    version = query.find_version(engine, wish.dag_id)
    with reading(engine) as connection:
        record, followed = dags.find(connection, wish.dag_id), schedules.get(connection, wish.dag_id)
    if not record.is_active:
        raise Conflict(f"the file of {wish.dag_id} is gone, and no run of it starts", hint="`rqflow submit FILE` brings it back.")
    _check_order(wish, version)
    tasks = _tasks(wish, version)
    _check_pool(broker, engine, wish, version, tasks)
    dates = _series(wish, version, followed)
    first, last, notes = _limits(wish, version, dates, clock.utcnow())
    total, is_counted = dates_of.count(dates, first, last)
    planned = Planned(wish=wish, version=version, dates=dates, first=first, last=last, total=total, is_counted=is_counted,
                      tasks=tuple(task.task_id for task in version.tasks if task.index in tasks), notes=tuple(notes))
    # Params that do not do are told here, and not by the scheduler.
    trigger.backfilled(version, next(planned.intervals()), clock.utcnow(), number=0, options=wish.options, conf=wish.conf)
    with reading(engine) as connection:
        _check_free(connection, planned)
    return planned


def _check_order(wish: Wish, version: Version) -> None:
    """Raise UsageError for options that contradict each other."""
    if wish.marks and wish.rerun is not Rerun.MISSING:
        raise UsageError("--mark-success is for dates without a run: it cannot run any again",
                         hint="`rqflow run mark RUN success` marks a run that there is, `rqflow task mark RUN TASK success` a task of it.")
    past = [task.task_id for task in version.tasks if task.depends_on_past or task.wait_for_downstream]
    if wish.newest_first and past:
        waiting = f"{_list(past)} wait{'s' if len(past) == 1 else ''}"
        raise UsageError(f"{version.dag_id} cannot be run with --reverse: {waiting} for the date before",
                         hint="Leave --reverse out.")


def _tasks(wish: Wish, version: Version) -> frozenset[int]:
    """Return the indices of the tasks that are run."""
    found = partial.chosen(version, wish.options)
    if not version.tasks:
        raise UsageError(f"{version.dag_id} has no tasks: there is nothing to run")
    if not found:
        raise TaskNotFound(f"no task of {version.dag_id} matches {wish.options.task_regex!r}",
                           hint=f"It has {_list([task.task_id for task in version.tasks])}.")
    return found


def _check_pool(broker: Broker, engine: Engine, wish: Wish, version: Version, tasks: frozenset[int]) -> None:
    """Raise PoolNotFound, or UsageError for tasks that would take more slots than there are."""
    name = wish.options.pool
    if not name:
        return
    slots = {pool.name: pool.slots for pool in pools.list_all(broker, engine)}
    if name not in slots:
        raise PoolNotFound(f"there is no pool {name}", hint=f"`rqflow pool set {name} SLOTS` makes it, `rqflow pool list` shows the others.")
    most = slots[name]
    too_many = [task.task_id for task in version.tasks if task.index in tasks and most is not None and task.pool_slots > most]
    if too_many:
        raise UsageError(f"--pool {name} has {most} slots, and {_list(too_many)} would take more",
                         hint=f"`rqflow pool set {name} SLOTS` gives it more.")


def _series(wish: Wish, version: Version, followed: Followed | None) -> Series:
    """Return the dates of the DAG's schedule; raises UsageError when it has none."""
    if series.name_of(version) is None:
        which = f"the schedule {timetable.plain(version.schedule)}" if version.schedule else "no schedule"
        raise UsageError(f"{version.dag_id} has {which}, which gives no dates to run",
                         hint=f"`rqflow run start {version.dag_id} --at DATE` starts one run for a date of your own.")
    zone = timetable.zone(version.timezone)
    first = wish.first if wish.first.tzinfo else wish.first.replace(tzinfo=zone)
    # A file without start_date: dates by the clock are the same whenever they begin, lengths of time are counted from the first submit.
    begin = first if timetable.of(version).is_cron or followed is None else followed.start
    return series.of(version, begin.astimezone(clock.UTC))


def _limits(wish: Wish, version: Version, dates: Series, now: datetime) -> tuple[datetime, datetime, list[str]]:
    """Return the first and the last date that are run, and what to say of those that are not; raises UsageError when there are none."""
    zone = timetable.zone(version.timezone)
    first, last = ((moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(clock.UTC) for moment in (wish.first, wish.last))
    if last < first:
        raise UsageError(f"--to {_date(last, version)} lies before --from {_date(first, version)}",
                         hint="Exchange them; --reverse begins with the last date.")
    begin, end = next(dates.between(first, last), None), next(dates.between(first, last, newest_first=True), None)
    if begin is None or end is None:
        which = f"of its schedule ({timetable.plain(version.schedule)}) from {_date(first, version)} to {_date(last, version)}"
        raise UsageError(f"{version.dag_id} has no date {which}", hint=_nearest(dates, first, last, version))
    due = dates.latest(now)
    if due is None or due < begin:
        raise UsageError(f"the date {_date(begin.logical_date, version)} of {version.dag_id} is not due before {_date(begin.end, version)}: "
                         "a backfill runs past dates",
                         hint=f"Its schedule runs it then; `rqflow run start {version.dag_id} --at {begin.logical_date:%Y-%m-%dT%H:%M}` runs it now.")
    notes = []
    if first < dates.start:
        notes.append(f"{version.dag_id} starts at {_date(dates.start, version)}: no date before that is run")
    if due < end:
        notes.append(f"dates after {_date(due.logical_date, version)} are not due yet: its schedule runs them, not this backfill")
        end = due
    return begin.logical_date, end.logical_date, notes


def _nearest(dates: Series, first: datetime, last: datetime, version: Version) -> str:
    near = [found.logical_date for found in (dates.previous(first), dates.next(last)) if found]
    return f"The nearest {'are' if len(near) > 1 else 'is'} {' and '.join(_date(moment, version) for moment in near)}." if near else ""


def _check_free(connection: Connection, planned: Planned) -> None:
    """Raise Conflict when another backfill has dates between these, or a run has the name of one that would be made."""
    dag_id = planned.version.dag_id
    other = backfills.overlapping(connection, dag_id, planned.first, planned.last)
    if other is not None:
        raise Conflict(f"backfill {other.id} of {dag_id} is {other.state.value} and has dates between these",
                       hint=f"Wait for it (`rqflow backfill show {other.id} --wait`), or end it: `rqflow backfill cancel {other.id}`.")
    for run_id, date in backfills.taken_run_ids(connection, dag_id).items():
        for one in _dates_named(planned, run_id):
            if one != date:
                raise Conflict(f"{dag_id} has a run called {run_id} already, which was made in another way, for {date.isoformat()}",
                               hint=f"Leave the date {one.isoformat()} out.")


def _dates_named(planned: Planned, run_id: str) -> list[datetime]:
    """Return the date whose run would be called so, if there is one."""
    try:
        date = datetime.fromisoformat(run_id.removeprefix(f"{BACKFILL}__"))
    except ValueError:
        return []
    if date.tzinfo is None or not planned.first <= date <= planned.last:
        return []
    return [one.logical_date for one in planned.dates.between(date, date)]


def choices(engine: Engine, planned: Planned, *, limit: int) -> list[Choice]:
    """Return what would become of the first dates, at most `limit` of them."""
    found: list[Choice] = []
    rest = islice(planned.intervals(), limit)
    while part := list(islice(rest, _PART)):
        with reading(engine) as connection:
            there = backfills.found(connection, planned.version.dag_id, min(part).logical_date, max(part).logical_date)
        found += [dates_of.choose(one, there.get(one.logical_date), planned.wish.rerun) for one in part]
    return found


def start(engine: Engine, planned: Planned, *, by: str) -> BackfillRecord:
    """Write a backfill down, from which moment on the leading scheduler carries it out. Raises Conflict when there is another one of these dates."""
    wish, version, now = planned.wish, planned.version, clock.utcnow()
    record = BackfillRecord(
        id=0, dag_id=version.dag_id, version=version.sha, series_start=planned.dates.start, from_date=planned.first, to_date=planned.last,
        newest_first=wish.newest_first, rerun=wish.rerun, max_active=wish.max_active or version.max_active_runs, marks=wish.marks,
        ignores_first_past=wish.ignores_first_past, options=wish.options, conf=dict(wish.conf), state=BackfillState.QUEUED, reason="", upto=None,
        total=planned.total, is_counted=planned.is_counted, made=0, skipped=0, succeeded=0, failed=0, who=by, created_at=now, started_at=None,
        ended_at=None)

    def write(connection: Connection) -> BackfillRecord:
        backfills.lock_dag(connection, version.dag_id)
        known = backfills.search(connection, dag_id=version.dag_id, limit=1)
        if known and known[0].created_at == now and known[0].who == by:
            # The answer to a commit was lost.
            return known[0]
        _check_free(connection, planned)
        number = backfills.create(connection, record)
        _note(connection, "backfill_started", by, version.dag_id, number)
        made = backfills.get(connection, number)
        assert made, "it was just written"
        return made

    return run_in_transaction(engine, write)


# ---------------------------------------------------------------- steering


def find(engine: Engine, text: str) -> BackfillRecord:
    """Return the backfill of this number, or the newest one of a DAG of this name; raises NotFound."""
    with reading(engine) as connection:
        found = backfills.get(connection, int(text)) if text.isascii() and text.isdecimal() and len(text) < 10 else None
        if found is None:
            found = next(iter(backfills.search(connection, dag_id=text, limit=1)), None)
    if found is None:
        raise NotFound(f"there is no backfill {text}", hint="`rqflow backfill list` shows them; the name of a DAG means its newest one.")
    return found


def pause(engine: Engine, record: BackfillRecord, *, by: str) -> bool:
    """Let no more runs of a backfill be made; those that were go on. False when it was paused already; raises Conflict when it has ended."""
    return _change(engine, record, {BackfillState.QUEUED, BackfillState.RUNNING}, BackfillState.PAUSED, "backfill_paused", by)


def resume(engine: Engine, record: BackfillRecord, *, by: str) -> bool:
    """Let runs of a backfill be made again; False when it was not paused. Raises Conflict when it has ended."""
    return _change(engine, record, {BackfillState.PAUSED}, BackfillState.RUNNING, "backfill_resumed", by)


def cancel(engine: Engine, record: BackfillRecord, *, by: str) -> bool:
    """Let no more runs be made, and those that have not ended be cancelled; False when it was being cancelled already.

    Raises Conflict when it has ended.
    """
    states = {BackfillState.QUEUED, BackfillState.RUNNING, BackfillState.PAUSED}
    return _change(engine, record, states, BackfillState.CANCELLING, "backfill_cancelled", by)


def _change(engine: Engine, record: BackfillRecord, states: set[BackfillState], to: BackfillState, event: str, by: str) -> bool:
    def write(connection: Connection) -> bool:
        now = backfills.get(connection, record.id)
        if now is None or now.is_finished:
            raise Conflict(f"backfill {record.id} of {record.dag_id} has ended: {now.state.value if now else 'gone'}")
        reason = "" if to is BackfillState.RUNNING else f"{to.value if to is BackfillState.PAUSED else 'cancelled'} by {by}"
        is_news = backfills.change(connection, record.id, states, to, reason=reason)
        if is_news:
            _note(connection, event, by, record.dag_id, record.id)
        return is_news

    return run_in_transaction(engine, write)


def _note(connection: Connection, event: str, by: str, dag_id: str, number: int) -> None:
    events.add(connection, event, who=by, dag_id=dag_id, backfill=number)


def _date(moment: datetime, version: Version) -> str:
    """Return a date by the clock of its DAG."""
    own = moment.astimezone(timetable.zone(version.timezone))
    return own.isoformat(timespec="seconds") if own.utcoffset() != timedelta(0) else f"{own:%Y-%m-%dT%H:%M:%S}"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMES]) + (f" and {len(names) - _NAMES} more" if len(names) > _NAMES else "")

