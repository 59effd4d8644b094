"""The scheduled runs of a DAG as a series of data intervals: which comes next, which are complete, which of them are to be started.

Pure: times are passed in, all in UTC. A run for the interval [start, end) has the logical date `start` and is due at `end` (Airflow's model);
under Airflow 3's timetables the interval is empty, and the run due at its logical date. Dates that a length of time makes are counted from the
series' start, so that neither a late run nor a short month moves those after it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from rqflow.dag import timetable
from rqflow.dag.timetable import Timetable
from rqflow.dag.version import Version

#: The least distance between two dates.
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Interval:
    """One date of a series: the run that stands for `logical_date` covers [start, end) and is due at `end`."""

    logical_date: datetime
    start: datetime
    end: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """All dates of a timetable from `start` on, to `end` (a logical date) or for ever."""

    timetable: Timetable
    start: datetime
    end: datetime | None = None

    def next(self, after: datetime | None = None) -> Interval | None:
        """Return the first date after the logical date `after`, of all when it is None; None when the series has ended, or there is none."""
        earliest = self.start if after is None else max(self.start, after + _TICK)
        if self.timetable.nth(self.start, 0) is None:
            found = self.timetable.at_or_after(earliest)
        else:
            found = self._nth(self._first_index(lambda date: date >= earliest))
        return None if found is None or (self.end is not None and found > self.end) else self._interval(found)

    def previous(self, date: datetime) -> Interval | None:
        """Return the last date before the logical date `date`, or None."""
        if self.timetable.nth(self.start, 0) is None:
            found = self.timetable.before(date)
        else:
            index = self._first_index(lambda other: other >= date) - 1
            found = None if index < 0 else self._nth(index)
        return None if found is None or found < self.start else self._interval(found)

    def complete(self, now: datetime, after: datetime | None = None) -> Iterator[Interval]:
        """Give the dates after the logical date `after` that are due by `now`, the oldest first."""
        found = self.next(after)
        while found is not None and found.end <= now:
            yield found
            found = self.next(found.logical_date)

    def between(self, first: datetime, last: datetime, *, newest_first: bool = False) -> Iterator[Interval]:
        """Give the dates from `first` to `last`, both included, one after the other, however many they are."""
        found = self.previous(last + _TICK) if newest_first else self.next(first - _TICK)
        if found is not None and newest_first and self.end is not None and found.logical_date > self.end:
            found = self.previous(self.end + _TICK)
        while found is not None and first <= found.logical_date <= last:
            yield found
            found = self._before(found) if newest_first else self._after(found)

    def number(self, first: datetime, last: datetime) -> int | None:
        """Return how many dates there are from `first` to `last`; None for a cron expression, whose dates have to be gone through for that."""
        if self.timetable.nth(self.start, 0) is None:
            return None
        last = last if self.end is None else min(last, self.end)
        return max(self._first_index(lambda date: date > last) - self._first_index(lambda date: date >= first), 0)

    def _after(self, one: Interval) -> Interval | None:
        """Return what `next` does for the date of an interval, in a third of the time where its end is the next date."""
        if not self.timetable.is_cron or one.end == one.logical_date:
            return self.next(one.logical_date)
        return None if self.end is not None and one.end > self.end else self._interval(one.end)

    def _before(self, one: Interval) -> Interval | None:
        """Return what `previous` does for the date of an interval, in a third of the time where it is the end of the one before."""
        if not self.timetable.is_cron or one.end == one.logical_date:
            return self.previous(one.logical_date)
        found = self.timetable.before(one.logical_date)
        return None if found is None or found < self.start else Interval(logical_date=found, start=found, end=one.logical_date)

    def latest(self, now: datetime) -> Interval | None:
        """Return the last date that is due by `now`, or None."""
        if self.next() is None:
            return None
        if self.timetable.nth(self.start, 0) is None:
            last = self._latest_of_cron(now)
        else:
            index = self._first_index(lambda date: self._interval(date).end > now) - 1
            last = None if index < 0 else self._nth(index)
        if last is None or last < self.start:
            return None
        return self.previous(self.end + _TICK) if self.end is not None and last > self.end else self._interval(last)

    def _latest_of_cron(self, now: datetime) -> datetime | None:
        last = self.timetable.before(now + _TICK)
        while last is not None and last >= self.start and self._interval(last).end > now:
            last = self.timetable.before(last)
        return last

    def _interval(self, date: datetime) -> Interval:
        start, end = self.timetable.scheduled_interval(date) if self.timetable.is_cron else (date, self._end(date))
        return Interval(logical_date=date, start=start, end=end)

    def _end(self, date: datetime) -> datetime:
        if self.timetable.generation == "3":
            return date
        return self._nth(self._first_index(lambda other: other > date))

    def _nth(self, index: int) -> datetime:
        found = self.timetable.nth(self.start, index)
        assert found is not None, "only asked of a schedule that is a length of time"
        return found

    def _first_index(self, is_beyond: Callable[[datetime], bool]) -> int:
        """Return the index of the first date of a length of time of which `is_beyond` is true; it is true of all after that."""
        high = 1
        while not is_beyond(self._nth(high - 1)):
            high *= 2
        low = high // 2
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if is_beyond(self._nth(middle)) else (middle + 1, high)
        return low


@dataclass(frozen=True, kw_only=True, slots=True)
class Once(Series):
    """The series of `@once`: its start, and nothing else."""

    def next(self, after: datetime | None = None) -> Interval | None:
        """Return the one date, unless it lies before or at `after`."""
        return Interval(logical_date=self.start, start=self.start, end=self.start) if after is None or after < self.start else None

    def previous(self, date: datetime) -> Interval | None:
        """Return the one date, if it lies before `date`."""
        return Interval(logical_date=self.start, start=self.start, end=self.start) if date > self.start else None

    def latest(self, now: datetime) -> Interval | None:
        """Return the one date, if it has come."""
        return self.previous(now + _TICK)


@dataclass(frozen=True, kw_only=True, slots=True)
class Continuous(Series):
    """The series of `@continuous`: each run covers the time since the one before it began, and is due as soon as that has ended."""

    def next(self, after: datetime | None = None) -> Interval | None:
        """Return the date that begins at `after`: when it is due, and what it covers, is known only when a run has ended."""
        begins = self.start if after is None else max(self.start, after)
        return None if self.end is not None and begins > self.end else Interval(logical_date=begins, start=begins, end=begins)

    def previous(self, date: datetime) -> Interval | None:  # noqa: ARG002
        """Return nothing: dates that have passed are only known as runs."""
        return None

    def complete(self, now: datetime, after: datetime | None = None) -> Iterator[Interval]:  # noqa: ARG002
        """Give nothing: there is no past to be made up for."""
        return iter(())

    def latest(self, now: datetime) -> Interval | None:
        """Return a date that begins now, once the series has begun: from there on it is followed."""
        return Interval(logical_date=now, start=now, end=now) if now >= self.start else None

    def due(self, upto: datetime | None, now: datetime) -> Interval | None:
        """Return the date that is due at `now` when no run is left: from the end of the one before it to `now`."""
        coming = self.next(upto)
        return None if coming is None or coming.start >= now else Interval(logical_date=coming.start, start=coming.start, end=now)


def is_once(version: Version) -> bool:
    """Tell whether the DAG's schedule asks for exactly one run."""
    return version.schedule == timetable.ONCE


def is_continuous(version: Version) -> bool:
    """Tell whether a run of the DAG follows the other without a pause."""
    return version.schedule == timetable.CONTINUOUS


def room(version: Version, active: int) -> int:
    """Return how many scheduled runs may start while `active` runs have not ended. Of @continuous there is one at a time, as in Airflow."""
    most = 1 if is_continuous(version) else version.max_active_runs
    return max(most - active, 0)


def name_of(version: Version) -> str | None:
    """Return what the series of a version is, as text: another text is another series. None when no run comes by itself."""
    if not timetable.of(version).has_series:
        return None
    return json.dumps([version.schedule, version.timezone, version.start_date, version.generation == "3"])


def of(version: Version, start: datetime) -> Series:
    """Return the series of a version that has one; it begins at the version's start date, at `start` when that says none."""
    begins = moment(version.start_date) if version.start_date else start
    if is_once(version):
        return Once(timetable=timetable.of(version), start=begins)
    end = moment(version.end_date) if version.end_date else None
    if is_continuous(version):
        return Continuous(timetable=timetable.of(version), start=begins, end=end)
    return Series(timetable=timetable.of(version), start=begins, end=end)


def moment(text: str) -> datetime:
    """Return a time that a DAG file gave, in UTC; one without a zone is meant so."""
    found = datetime.fromisoformat(text)
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


#: So many dates that are left out are counted; beyond it is "more than".
MOST_COUNTED = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is due at one moment."""

    #: To be started, the oldest first.
    runs: tuple[Interval, ...] = ()
    #: How many complete dates are left out, at most MOST_COUNTED + 1.
    skipped: int = 0
    #: All dates up to this one are settled once the runs are made; None: none is.
    upto: datetime | None = None


def makes_up(version: Version, by_default: bool) -> bool:
    """Tell whether past dates of a DAG are made up for: as its file says, else `by_default`."""
    return by_default if version.catchup is None else version.catchup


def begin(series: Series, now: datetime) -> Plan:
    """Return what is due when a series without catch-up begins to be followed.

    A run starts only if exactly one date is complete: start_date = now - interval is how people ask for one at once.
    """
    found = list(islice(series.complete(now), MOST_COUNTED + 1))
    if len(found) == 1:
        return Plan(runs=(found[0],), upto=found[0].logical_date)
    last = series.latest(now)
    return Plan(skipped=len(found), upto=last.logical_date if last else None)


def resume(series: Series, upto: datetime | None, now: datetime, *, catchup: bool, room: int = MOST_COUNTED) -> Plan:
    """Return what is due at `now` when all dates up to the logical date `upto` are settled, and at most `room` runs may start.

    Without catch-up it is the last complete date alone, and the others are left out; with it all of them, the oldest first.
    """
    if room <= 0:
        return Plan(upto=upto)
    if isinstance(series, Continuous):
        date = series.due(upto, now)
        return Plan(runs=(date,), upto=date.end) if date else Plan(upto=upto)
    if catchup:
        runs = tuple(islice(series.complete(now, upto), room))
        return Plan(runs=runs, upto=runs[-1].logical_date if runs else upto)
    last = series.latest(now)
    if last is None or (upto is not None and last.logical_date <= upto):
        return Plan(upto=upto)
    before = islice((one for one in series.complete(now, upto) if one != last), MOST_COUNTED + 1)
    return Plan(runs=(last,), skipped=sum(1 for _ in before), upto=last.logical_date)
