"""Following the schedule of a DAG: from its submit on, while it is paused, and what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from rqflow import clock
from rqflow.broker.broker import Broker
from rqflow.dag import series, timetable
from rqflow.dag.series import MOST_COUNTED, Interval, Plan, Series
from rqflow.dag.version import Version
from rqflow.exceptions import UsageError
from rqflow.store import events, schedules
from rqflow.store import runs as store_runs
from rqflow.store.engine import Connection, Engine, reading
from rqflow.store.schedules import Followed

#: With catch-up, so many past runs are started without asking.
SILENTLY = 10
ALL, NONE = "all", "none"


class ManyRuns(UsageError):
    """A DAG with catch-up would start many past runs at once; somebody must say that this is meant."""

    def __init__(self, version: Version, count: int) -> None:
        """Say how many runs of which DAG."""
        self.count = count
        super().__init__(f"{version.dag_id} would start {_counted(count)} past runs, for it has catchup=True and starts at {version.start_date}",
                         hint="Add --catchup N for the last N of them, --catchup all, or --catchup none.")


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """What a submit means for the schedule of a DAG."""

    #: Past dates that are left out, at most MOST_COUNTED + 1, and that are started now.
    left_out: int = 0
    started: int = 0
    #: So many past dates wait, the DAG being paused, for somebody to say how many of them are meant.
    waiting: int = 0
    #: What comes next; None: nothing comes by itself.
    next: Interval | None = None
    #: The schedule, or its start, is another one than before.
    is_changed: bool = False

    @property
    def left_out_words(self) -> str:
        """How many past dates are left out, for people; empty when none is."""
        return f"{_counted(self.left_out)} past dates are left out (no catch-up); " if self.left_out else ""

    @property
    def started_words(self) -> str:
        """How many past dates are run now, for people; empty when none is."""
        return f"{self.started} past date{'s are' if self.started > 1 else ' is'} run now; " if self.started else ""

    @property
    def waiting_words(self) -> str:
        """How many past dates wait for a word, for people; empty when none does."""
        return f"{_counted(self.waiting)} past dates wait: `rqflow dag unpause --catchup N|all|none` says how many are run; " if self.waiting else ""


def follow(connection: Connection, version: Version, now: datetime, *, catchup_by_default: bool, wanted: str | None = None,
           may_ask: bool = True, starts_once: bool = False) -> News:
    """Follow the schedule of a version that was just saved. The schedule that it had before goes on where it is; another one begins now.

    `wanted` is how many past runs a person asked for: a number, ALL or NONE; it means nothing to a DAG without catch-up. When that must be said and
    is not, ManyRuns is raised, or, where nobody `may_ask`, the DAG is paused until somebody says it. With `starts_once` the caller itself starts
    the one run of an @once.
    """
    name, before = series.name_of(version), schedules.get(connection, version.dag_id)
    if series.is_once(version) and not starts_once and store_runs.latest(connection, version.dag_id) is None:
        return _follow_once(connection, version, before, now)
    if name is None:
        schedules.put(connection, version.dag_id, None)
        return News(is_changed=before is not None)
    catchup = series.makes_up(version, catchup_by_default)
    wanted = wanted if catchup else None
    start = before.start if before and before.series == name else now
    dates = series.of(version, start)
    is_changed = before is not None and before.series != name
    try:
        if before is None or wanted is not None:
            upto, plan = _begin(version, dates, now, catchup=catchup, wanted=wanted)
        elif is_changed:
            upto, plan = _settled(dates, now), Plan()
        elif before.next_run_at is None:  # it had come to its end_date, which may be a later one now
            upto, plan = _gone_on(version, dates, before.upto, now, catchup=catchup, wanted=None), Plan()
        else:
            upto, plan = before.upto, Plan()
    except ManyRuns as many:
        if may_ask:
            raise
        return _wait(connection, version, dates, many.count, now)
    coming = dates.next(upto)
    schedules.put(connection, version.dag_id,
                  Followed(series=name, start=dates.start, upto=upto, next_run_at=coming.end if coming else None))
    first = dates.next(plan.runs[-1].logical_date) if plan.runs else coming
    return News(left_out=plan.skipped, started=len(plan.runs), next=first, is_changed=is_changed)


def _follow_once(connection: Connection, version: Version, before: Followed | None, now: datetime) -> News:
    """Let the leader start the one run of an @once when its start date comes."""
    date = series.of(version, before.start if before else now).next()
    assert date is not None, "there is none before the first"
    schedules.put(connection, version.dag_id, Followed(series=timetable.ONCE, start=date.start, upto=None, next_run_at=date.end))
    return News(next=date)


def _wait(connection: Connection, version: Version, dates: Series, count: int, now: datetime) -> News:
    """Pause a DAG until somebody says how many of its past dates are meant."""
    coming = dates.next()
    schedules.put(connection, version.dag_id, Followed(series=str(series.name_of(version)), start=dates.start, upto=None,
                                                       next_run_at=coming.end if coming else None))
    reason = f"it would start {_counted(count)} past runs, for it has catchup=True and starts at {version.start_date}"
    schedules.set_paused(connection, version.dag_id, False, now)  # so that the reason is this one
    schedules.set_paused(connection, version.dag_id, True, now, reason=reason)
    return News(waiting=count, next=coming)


def _counted(number: int) -> str:
    return f"{number:,}" if number <= MOST_COUNTED else f"more than {MOST_COUNTED:,}"


def _settled(dates: Series, now: datetime) -> datetime | None:
    """Return the logical date up to which nothing is to be done any more when a series is followed from `now` on."""
    last = dates.latest(now)
    return last.logical_date if last else None


def _begin(version: Version, dates: Series, now: datetime, *, catchup: bool, wanted: str | None) -> tuple[datetime | None, Plan]:
    """Return the logical date up to which all is settled, and what that means, where a series begins to be followed."""
    if not catchup:
        plan = series.begin(dates, now)
        return (None if plan.runs else plan.upto), plan
    found = tuple(islice(dates.complete(now), MOST_COUNTED + 1))
    if wanted is None and len(found) > SILENTLY:
        raise ManyRuns(version, len(found))
    if wanted == ALL or wanted is None:
        return None, Plan(runs=found)
    last, number = dates.latest(now), 0 if wanted == NONE else int(wanted)
    upto, runs = last, 0
    while upto is not None and runs < number:
        upto, runs = dates.previous(upto.logical_date), runs + 1
    left_out = len(found) - runs if len(found) <= MOST_COUNTED else MOST_COUNTED + 1
    return (upto.logical_date if upto else None), Plan(runs=found[len(found) - runs:], skipped=left_out)


def pause(connection: Connection, dag_id: str, *, by: str, why: str = "") -> bool:
    """Let no scheduled run of a DAG start, for a reason in words (default: who did it); False when it was paused already."""
    is_news = schedules.set_paused(connection, dag_id, True, clock.utcnow(), reason=why or f"{by} paused it")
    if is_news:
        events.add(connection, "paused", who=by, dag_id=dag_id)
    return is_news


def unpause(connection: Connection, version: Version, *, by: str, catchup_by_default: bool, wanted: str | None = None) -> bool:
    """Let scheduled runs of a DAG start again; without catch-up the dates of the time that it was paused are left out. False when it was not.

    `wanted` is how many past runs of a DAG with catch-up a person asked for. Raises ManyRuns when that must be said, and is not.
    """
    now = clock.utcnow()
    if not schedules.set_paused(connection, version.dag_id, False, now):
        return False
    events.add(connection, "unpaused", who=by, dag_id=version.dag_id)
    before = schedules.get(connection, version.dag_id)
    if before and not series.is_once(version):
        dates = series.of(version, before.start)
        upto = _gone_on(version, dates, before.upto, now, catchup=series.makes_up(version, catchup_by_default), wanted=wanted)
        following = dates.next(upto)
        schedules.advance(connection, version.dag_id, before, upto=upto, next_run_at=following.end if following else None)
    return True


def release(connection: Connection, version: Version, now: datetime, *, reason: str | None, catchup_by_default: bool) -> None:
    """Let a DAG go on that was paused because nobody had signed it, or stay paused for another `reason`."""
    if reason is None:
        try:
            unpause(connection, version, by="", catchup_by_default=catchup_by_default)
            return
        except ManyRuns as many:
            reason = str(many.message)
    schedules.set_paused(connection, version.dag_id, False, now)
    schedules.set_paused(connection, version.dag_id, True, now, reason=reason)


def _gone_on(version: Version, dates: Series, upto: datetime | None, now: datetime, *, catchup: bool, wanted: str | None) -> datetime | None:
    """Return the logical date up to which all is settled when a DAG that was paused goes on."""
    settled = _settled(dates, now)
    if not catchup or wanted == NONE:
        return max(filter(None, (upto, settled)), default=None)
    found = tuple(islice(dates.complete(now, upto), MOST_COUNTED + 1))
    if wanted is None and len(found) > SILENTLY:
        raise ManyRuns(version, len(found))
    if wanted in {None, ALL} or (len(found) <= MOST_COUNTED and int(wanted or 0) >= len(found)):
        return upto
    last = dates.latest(now)
    for _ in range(int(wanted or 0)):
        last = dates.previous(last.logical_date) if last else None
    return max(filter(None, (upto, last.logical_date if last else None)), default=None)


def set_alarms(broker: Broker, engine: Engine, dag_ids: Sequence[str]) -> None:
    """Wake the leading scheduler when the next scheduled runs of these DAGs are due, and not for those that have none now."""
    with reading(engine) as connection:
        upcoming = schedules.upcoming(connection)
    broker.set_ticks({dag_id: upcoming.get(dag_id) for dag_id in dag_ids})


def coming(connection: Connection, version: Version, count: int) -> list[Interval]:
    """Return the next `count` scheduled runs of a DAG, those that are due and not started included."""
    before = schedules.get(connection, version.dag_id)
    found: list[Interval] = []
    if before:
        dates = series.of(version, before.start)
        date = dates.next(before.upto)
        while date and len(found) < count:
            found.append(date)
            # Of @continuous only the next one is known.
            date = None if series.is_continuous(version) else dates.next(date.logical_date)
    return found
