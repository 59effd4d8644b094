"""Which past dates of a DAG a backfill runs, and what becomes of each of them. Pure: times and what is there are passed in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from itertools import islice

from rqflow.dag.series import Interval, Series
from rqflow.states import TERMINAL_RUN_STATES, RunState

#: So many dates are counted; how many more there are is told by how long the rest is.
MOST_COUNTED = 10_000
#: States of a run that is run again where only the failed ones are.
_BADLY_ENDED = TERMINAL_RUN_STATES - {RunState.SUCCESS}


class Rerun(str, Enum):
    """Which dates are run again that have a run already."""

    #: None: only those without a run are run.
    MISSING = "missing"
    #: Those whose run failed or was cancelled: what failed in it, and what did not run because of that.
    FAILED = "failed"
    #: Those whose run has ended: all of it.
    ALL = "all"


class Deed(str, Enum):
    """What becomes of a date."""

    #: A run is made.
    MAKE = "make"
    #: The run that it has is run again.
    RERUN = "rerun"
    #: The run that it has is left as it is.
    SKIP = "skip"
    #: It has been made or run again by this backfill before.
    DONE = "done"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The run that a date has already."""

    run_key: str
    run_id: str
    state: RunState
    #: The backfill that made it, or ran it again last.
    backfill_id: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A date, what becomes of it, and why, where that is not plain."""

    interval: Interval
    deed: Deed
    found: Found | None = None
    reason: str = ""


def choose(interval: Interval, found: Found | None, rerun: Rerun, backfill_id: int | None = None) -> Choice:
    """Return what the backfill of this id makes of a date that has the run `found`, or none."""
    deed, reason = _deed(found, rerun, backfill_id)
    return Choice(interval=interval, deed=deed, found=found, reason=reason)


def _deed(found: Found | None, rerun: Rerun, backfill_id: int | None) -> tuple[Deed, str]:
    if found is None:
        return Deed.MAKE, ""
    if backfill_id is not None and found.backfill_id == backfill_id:
        return Deed.DONE, ""
    if found.state not in TERMINAL_RUN_STATES:
        return Deed.SKIP, f"run {found.run_id} is {found.state.value}"
    if rerun is Rerun.ALL or (rerun is Rerun.FAILED and found.state in _BADLY_ENDED):
        return Deed.RERUN, f"run {found.run_id}: {found.state.value}"
    return Deed.SKIP, f"it has a run, {found.run_id}: {found.state.value}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What is to be done next."""

    choices: tuple[Choice, ...] = ()
    #: Whether no date is left after these.
    is_last: bool = False


def next_part(dates: Iterable[Interval], found: Mapping[datetime, Found], rerun: Rerun, backfill_id: int, *, room: int) -> Part:
    """Return what becomes of the next dates until `room` runs begin; `dates` that are not come to are left for later."""
    choices: list[Choice] = []
    for interval in dates:
        one = choose(interval, found.get(interval.logical_date), rerun, backfill_id)
        if one.deed in {Deed.MAKE, Deed.RERUN}:
            if room <= 0:
                return Part(choices=tuple(choices))
            room -= 1
        choices.append(one)
    return Part(choices=tuple(choices), is_last=True)


def remaining(series: Series, first: datetime, last: datetime, upto: datetime | None, *, newest_first: bool) -> Iterator[Interval]:
    """Give the dates from `first` to `last` that come after `upto`, in the order of the backfill; all when it is None."""
    found = series.between(first if upto is None or newest_first else max(first, upto), last if upto is None or not newest_first else min(last, upto),
                           newest_first=newest_first)
    return (one for one in found if one.logical_date != upto)


def count(series: Series, first: datetime, last: datetime, most: int = MOST_COUNTED) -> tuple[int, bool]:
    """Return how many dates there are from `first` to `last`, and whether that is counted: beyond `most` it is reckoned by the length of the rest."""
    exact = series.number(first, last)
    if exact is not None:
        return exact, True
    number, begin, at = 0, first, first
    for one in islice(series.between(first, last), most + 1):
        begin, at = (begin if number else one.logical_date), one.logical_date
        number += 1
    if number <= most:
        return number, True
    end = min(last, series.end) if series.end else last
    return max(round(most * ((end - begin) / (at - begin))), number), False
