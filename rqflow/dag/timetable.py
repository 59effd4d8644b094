"""Schedules as text, and the logical dates and data intervals that follow from them. Pure: times are passed in.

A schedule is None, "@once", "@continuous", "timedelta:SECONDS", "relativedelta:months=1,…", a cron expression of five fields, or six with the seconds
last, one of PRESETS, or "unsupported: …" for what rqflow cannot read. "intervals:" or "triggers:" may stand before a cron or a length of time.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta

from rqflow.dag.arguments import ABSENT
from rqflow.dag.problems import nearest
from rqflow.dag.version import Version

if TYPE_CHECKING:
    from croniter import croniter

ONCE = "@once"
#: A run begins as soon as the one before it has ended.
CONTINUOUS = "@continuous"
UNSUPPORTED = "unsupported: "
#: What stands before a schedule whose runs cover the time up to the next date, or none, whatever the generation of its file says.
INTERVALS, TRIGGERS = "intervals:", "triggers:"
PRESETS = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}
_FIELDS = (("minute", "0-59"), ("hour", "0-23"), ("day of month", "1-31"), ("month", "1-12"), ("day of week", "0-7"), ("second", "0-59"))
_RELATIVE = ("years", "months", "days", "hours", "minutes", "seconds", "microseconds")
_ABSOLUTE = ("year", "month", "day", "weekday", "hour", "minute", "second", "microsecond")
#: What walks along the cron expressions that this thread has met, and how many of them are kept.
_walkers = threading.local()
_WALKERS = 1000
#: Where the search for a date that a cron expression means begins when it is only asked whether there is one.
_ANY_DAY = datetime(2024, 1, 1)  # noqa: DTZ001 (wall time, as croniter takes it)


class Rhythm:
    """A schedule that says itself whether its runs cover the time up to the next date, and in which zone its dates are meant."""

    def __init__(self, schedule: Any, *, has_intervals: bool, timezone: str | None = None) -> None:
        """Take a cron expression or a length of time; `timezone` None is that of the DAG."""
        self.schedule, self.has_intervals, self.timezone = schedule, has_intervals, timezone


def schedule_text(schedule: Any, generation: str) -> str | None:
    """Return the text for a schedule as an author gave it; ABSENT means daily until Airflow 2 and none later.

    Raises ValueError, saying what is wrong, for a cron expression or a length of time that means nothing.
    """
    if schedule is ABSENT:
        return "timedelta:86400" if generation in {"1", "2"} else None
    if schedule is None:
        return None
    if isinstance(schedule, Rhythm):
        text = schedule_text(schedule.schedule, generation) or ""
        differs = schedule.has_intervals == (generation == "3")
        return f"{INTERVALS if schedule.has_intervals else TRIGGERS}{text}" if differs and not text.startswith(UNSUPPORTED) else text
    if isinstance(schedule, str) and schedule.startswith(UNSUPPORTED):
        return schedule
    if isinstance(schedule, str):
        return _cron_text(schedule.strip())
    if isinstance(schedule, timedelta) or (isinstance(schedule, relativedelta) and all(getattr(schedule, name) is None for name in _ABSOLUTE)):
        return _length_text(schedule)
    if isinstance(schedule, int | float):
        raise ValueError(f"the schedule {schedule!r} is a number; write a length of time, like timedelta(minutes=10), or a cron expression in quotes")
    if isinstance(schedule, list | tuple | set):
        return UNSUPPORTED + ", ".join(sorted({type(item).__name__ for item in schedule}))
    return UNSUPPORTED + type(schedule).__name__


def check(schedule: str | None) -> None:
    """Raise ValueError for a text that `schedule_text` gives for no schedule, such as one of no length, whose dates nobody could go through."""
    bare = plain(schedule)
    if bare is None:
        return
    kind, _, rest = bare.partition(":")
    lengths: dict[str, Callable[[str], Any]] = {"timedelta": lambda text: timedelta(seconds=float(text)), "relativedelta": _relative}
    if schedule_text(lengths[kind](rest) if kind in lengths else bare, "native") != bare:
        raise ValueError(f"{bare[:50]!r} is not how a schedule is written")


def _length_text(length: Any) -> str:
    if _ANY_DAY + length <= _ANY_DAY:
        raise ValueError(f"the schedule {length} must be longer than 0 s")
    if isinstance(length, timedelta):
        seconds = length.total_seconds()
        return f"timedelta:{int(seconds) if seconds.is_integer() else seconds}"
    return "relativedelta:" + ",".join(f"{name}={getattr(length, name)}" for name in _RELATIVE if getattr(length, name))


def _cron_text(text: str) -> str:
    if text in {ONCE, CONTINUOUS} or text in PRESETS:
        return text
    from croniter import CroniterBadDateError, croniter  # here: a task, which is loaded with its DAG, waits 30 ms for it
    if text.startswith("@"):
        names = [ONCE, CONTINUOUS, *PRESETS]
        raise ValueError(f"there is no schedule {text!r}; there are {', '.join(names)}{nearest(text, names)}")
    fields = text.split()
    if len(fields) not in (5, 6):
        raise ValueError(f"the schedule {text!r} has {len(fields)} fields; a cron expression has 5, or 6 with the seconds last")
    for number, (field, (name, allowed)) in enumerate(zip(fields, _FIELDS, strict=False)):
        alone = ["*"] * len(fields)
        alone[number] = field
        if not croniter.is_valid(" ".join(alone)):
            raise ValueError(f"the schedule {text!r} has {field!r} as its {name}; allowed are {allowed}, *, lists, ranges and steps")
    try:
        croniter(text, _ANY_DAY).get_next(datetime)
    except CroniterBadDateError:
        raise ValueError(f"the schedule {text!r} never comes: there is no such day") from None
    return " ".join(fields)


def zone_name(zone: tzinfo | None) -> str:
    """Return the name of a time zone of any library, "+02:00" for one that is a mere offset, "UTC" for None."""
    for attribute in ("key", "zone", "name"):
        name = getattr(zone, attribute, None)
        if isinstance(name, str) and name:
            return "UTC" if name in {"UTC", "+00:00", "Etc/UTC"} else name
    offset = zone.utcoffset(_ANY_DAY) if zone is not None else None
    if not offset:
        return "UTC"
    minutes = int(offset.total_seconds() // 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def zone(name: str) -> tzinfo:
    """Return the time zone of a name that zone_name gave; raises zoneinfo.ZoneInfoNotFoundError."""
    if match := re.fullmatch(r"([+-])(\d\d):(\d\d)", name):
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        return timezone(-offset if match[1] == "-" else offset)
    return UTC if name == "UTC" else ZoneInfo(name)


def by_clocks(moment: datetime, own: str, viewer: tzinfo) -> str:
    """Return a time by the clock of a DAG's zone, which is called `own`, and by the viewer's where that shows another time."""
    local, seen = moment.astimezone(zone(own)), moment.astimezone(viewer)
    text = f"{local:%Y-%m-%d %H:%M:%S} {own}"
    return text if seen.utcoffset() == local.utcoffset() else f"{text} = {seen:%Y-%m-%d %H:%M:%S %Z}"


def of(version: Version) -> Timetable:
    """Return the timetable of a DAG."""
    generation = version.generation
    for prefix, like in ((INTERVALS, "2"), (TRIGGERS, "3")):
        generation = like if (version.schedule or "").startswith(prefix) else generation
    return Timetable(schedule=plain(version.schedule), timezone=version.timezone, generation=generation)


def plain(schedule: str | None) -> str | None:
    """Return a schedule without what it says of intervals."""
    return schedule and schedule.removeprefix(INTERVALS).removeprefix(TRIGGERS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Timetable:
    """Logical dates and data intervals of a schedule, in UTC."""

    schedule: str | None
    timezone: str = "UTC"
    generation: str = "native"

    @property
    def is_cron(self) -> bool:
        """Whether the dates are those of a cron expression."""
        return bool(self.schedule) and not re.match(r"@once$|@continuous$|timedelta:|relativedelta:|unsupported: ", self.schedule or "")

    @property
    def has_series(self) -> bool:
        """Whether runs come by themselves, one date after the other."""
        return bool(self.schedule) and self.schedule != ONCE and not (self.schedule or "").startswith(UNSUPPORTED)

    def after(self, moment: datetime) -> datetime | None:
        """Return the first logical date after `moment`; None when there is no series of dates."""
        return self._step(moment, 1)

    def before(self, moment: datetime) -> datetime | None:
        """Return the last logical date before `moment`; None when there is no series of dates."""
        return self._step(moment, -1)

    def at_or_after(self, moment: datetime) -> datetime | None:
        """Return the first date of a cron expression that is not before `moment`; None for any other schedule."""
        if not self.is_cron:
            return None
        following = self.after(moment)
        previous = self.before(following) if following else None
        return previous if previous is not None and previous >= moment else following

    def nth(self, start: datetime, index: int) -> datetime | None:
        """Return the date `index` lengths of time after `start`; None where the schedule is no length of time."""
        kind, _, rest = (self.schedule or "").partition(":")
        if kind == "timedelta":
            return start.astimezone(UTC) + index * timedelta(seconds=float(rest))
        if kind == "relativedelta":
            moved: datetime = start.astimezone(zone(self.timezone)) + index * _relative(rest)
            return moved.astimezone(UTC)
        return None

    def scheduled_interval(self, logical_date: datetime) -> tuple[datetime, datetime]:
        """Return the data interval of the run that stands for `logical_date`: until the next one; empty for Airflow 3's files."""
        end = None if self.generation == "3" else self.after(logical_date)
        return logical_date, end or logical_date

    def manual_interval(self, moment: datetime) -> tuple[datetime, datetime]:
        """Return the data interval of a run started by hand at `moment`: the last one that was complete then.

        A schedule that is a length of time gives the interval that ends at `moment`; no schedule, and Airflow 3's files, an empty one.
        """
        start = None if self.generation == "3" else self.before(moment)
        if start is None:
            return moment, moment
        if not self.is_cron or self.after(start) == moment:
            return start, moment
        return self.before(start) or start, start

    def _step(self, moment: datetime, sign: int) -> datetime | None:
        if self.schedule in {None, CONTINUOUS} or not self.has_series:
            return None
        kind, _, rest = str(self.schedule).partition(":")
        if kind == "timedelta":
            return moment.astimezone(UTC) + sign * timedelta(seconds=float(rest))
        if kind == "relativedelta":
            return self.nth(moment, sign)
        return _cron_step(PRESETS.get(str(self.schedule), str(self.schedule)), moment, zone(self.timezone), sign)


def _relative(text: str) -> relativedelta:
    """Return the length of time that "months=1,days=2" says."""
    pairs = (part.partition("=") for part in text.split(","))
    return relativedelta(**{name: int(number) for name, _, number in pairs})


def _croniter(expression: str) -> croniter:
    """Return what walks along a cron expression, one a thread: to read the expression takes ten times as long as a step."""
    known: dict[str, croniter] = _walkers.__dict__
    if expression not in known:
        from croniter import croniter  # here: see _cron_text

        if len(known) >= _WALKERS:
            known.clear()
        known[expression] = croniter(expression, _ANY_DAY)
    return known[expression]


def _cron_step(expression: str, moment: datetime, local: tzinfo, sign: int) -> datetime:
    """Return the nearest date of a cron expression after (or before) `moment`, by the wall clock of `local`.

    Where every hour counts, so does one that a change of the clock repeats. Where not, a wall time that a change leaves out is taken as if the clock
    had not yet been changed.
    """
    series = _croniter(expression)
    step: Callable[[type[datetime]], datetime] = series.get_next if sign > 0 else series.get_prev
    if series.expanded[1] == ["*"]:
        return _step_of_every_hour(series, step, moment.astimezone(UTC), local, sign)
    series.set_current(moment.astimezone(local).replace(tzinfo=None), force=True)
    found = step(datetime).replace(tzinfo=local).astimezone(UTC)
    while (found - moment) * sign <= timedelta(0):
        found = step(datetime).replace(tzinfo=local).astimezone(UTC)
    return found


def _step_of_every_hour(series: croniter, step: Callable[[type[datetime]], datetime], moment: datetime, local: tzinfo, sign: int) -> datetime:
    """Do the same for an expression that leaves out no hour: the nearest moment at which the clock shows what it means.

    That is so by the clock of `moment` or, beyond a change, by the clock which is there; what neither really shows is passed over.
    """
    def offset(at: datetime) -> timedelta:
        return at.astimezone(local).utcoffset() or timedelta(0)

    def nearest_by(clock: timedelta) -> datetime:
        series.set_current((moment + clock).replace(tzinfo=None), force=True)
        return step(datetime).replace(tzinfo=UTC) - clock

    while True:
        here = offset(moment)
        found = nearest_by(here)
        there = offset(found)
        if there == here:
            return found
        beyond = nearest_by(there)
        if offset(beyond) == there:
            return beyond
        moment = min(found, beyond) if sign > 0 else max(found, beyond)
