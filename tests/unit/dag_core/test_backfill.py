"""Which dates a backfill has, and what becomes of each."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqflow.dag import partial
from rqflow.dag.backfill import Choice, Deed, Found, Rerun, choose, count, next_part, remaining
from rqflow.dag.run import RunInfo, RunOptions
from rqflow.dag.series import Interval, Series
from rqflow.dag.timetable import Timetable
from rqflow.states import TERMINAL_RUN_STATES, RunState
from tests.unit.builders import a_run, a_version
from tests.unit.dag_core.test_series import SCHEDULES, ZONES

DAY = timedelta(days=1)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAILY = [Interval(logical_date=FIRST + n * DAY, start=FIRST + n * DAY, end=FIRST + (n + 1) * DAY) for n in range(12)]

series = st.builds(
    lambda schedule, zone, generation, start: Series(timetable=Timetable(schedule=schedule, timezone=zone, generation=generation), start=start),
    st.sampled_from(SCHEDULES), st.sampled_from(ZONES), st.sampled_from(("2", "3")),
    st.datetimes(datetime(2024, 1, 1), datetime(2026, 12, 1), timezones=st.just(UTC)))
runs = st.builds(lambda state, number: Found(run_key="k", run_id="r", state=state, backfill_id=number), st.sampled_from(RunState),
                 st.sampled_from([None, 1, 2]))


def a_few_dates(of: Series) -> list[Interval]:
    found = [one] if (one := of.next()) else []
    while len(found) < 9 and (one := of.next(found[-1].logical_date)):
        found.append(one)
    return found


@given(series)
def test_the_dates_between_two_are_those_that_the_series_gives_one_by_one(of: Series) -> None:
    dates = a_few_dates(of)
    first, last = dates[1].logical_date, dates[-2].logical_date
    assert list(of.between(first, last)) == dates[1:-1]
    assert list(of.between(first, last, newest_first=True)) == dates[-2:0:-1]
    assert list(of.between(first + timedelta(microseconds=1), last - timedelta(microseconds=1))) == dates[2:-2]
    assert count(of, first, last) == (len(dates) - 2, True)


@given(series)
def test_no_date_lies_before_the_start_or_after_the_end_of_a_series(of: Series) -> None:
    dates = a_few_dates(of)
    ended = replace(of, end=dates[5].logical_date)
    limits = (of.start - 40 * DAY, dates[-1].logical_date)
    assert list(ended.between(*limits)) == dates[:6]
    assert list(ended.between(*limits, newest_first=True)) == dates[5::-1]
    assert count(ended, *limits) == (6, True)


def test_very_many_dates_are_counted_where_that_is_cheap_and_else_reckoned() -> None:
    last = FIRST + 700 * DAY
    minutes = Series(timetable=Timetable(schedule="* * * * *"), start=FIRST)
    number, is_counted = count(minutes, FIRST, last, 100)
    assert (number, is_counted) == (pytest.approx(700 * 1440, rel=0.01), False)
    seconds = Series(timetable=Timetable(schedule="timedelta:1"), start=FIRST)
    assert count(seconds, FIRST, last, 100) == (700 * 86400 + 1, True)


@pytest.mark.parametrize(("found", "rerun", "deed"), [
    (None, Rerun.MISSING, Deed.MAKE), (RunState.SUCCESS, Rerun.MISSING, Deed.SKIP), (RunState.FAILED, Rerun.MISSING, Deed.SKIP),
    (RunState.FAILED, Rerun.FAILED, Deed.RERUN), (RunState.CANCELLED, Rerun.FAILED, Deed.RERUN), (RunState.SUCCESS, Rerun.FAILED, Deed.SKIP),
    (RunState.SUCCESS, Rerun.ALL, Deed.RERUN), (RunState.RUNNING, Rerun.ALL, Deed.SKIP), (RunState.QUEUED, Rerun.FAILED, Deed.SKIP),
])
def test_what_becomes_of_a_date_that_has_a_run(found: RunState | None, rerun: Rerun, deed: Deed) -> None:
    run = Found(run_key="k", run_id="scheduled__x", state=found) if found else None
    chosen = choose(DAILY[0], run, rerun)
    assert chosen.deed is deed
    assert (deed in {Deed.SKIP, Deed.RERUN}) == ("scheduled__x" in chosen.reason)


@given(st.dictionaries(st.sampled_from([one.logical_date for one in DAILY]), runs), st.sampled_from(Rerun), st.integers(1, 5), st.booleans())
def test_each_date_comes_once_in_order_however_the_backfill_is_led_on(
    found: dict[datetime, Found], rerun: Rerun, room: int, newest_first: bool,
) -> None:
    of, upto = Series(timetable=Timetable(schedule="@daily"), start=FIRST), None
    done: list[Choice] = []
    for _ in range(len(DAILY) + 1):
        part = next_part(remaining(of, FIRST, DAILY[-1].logical_date, upto, newest_first=newest_first), found, rerun, 1, room=room)
        assert sum(one.deed in {Deed.MAKE, Deed.RERUN} for one in part.choices) <= room
        done += part.choices
        if part.is_last:
            break
        assert part.choices, "it would never end"
        upto = part.choices[-1].interval.logical_date
    assert [one.interval for one in done] == (DAILY[::-1] if newest_first else DAILY)
    for one in done:
        run = found.get(one.interval.logical_date)
        assert (one.deed is Deed.MAKE) == (run is None)
        assert (one.deed is Deed.DONE) == (run is not None and run.backfill_id == 1)
        assert one.deed is not Deed.RERUN or (run is not None and run.state in TERMINAL_RUN_STATES)


def test_a_part_ends_before_the_first_run_for_which_there_is_no_room() -> None:
    skipped = {DAILY[1].logical_date: Found(run_key="k", run_id="r", state=RunState.SUCCESS)}
    part = next_part(DAILY[:4], skipped, Rerun.MISSING, 1, room=1)
    assert ([one.deed for one in part.choices], part.is_last) == ([Deed.MAKE, Deed.SKIP], False)


CHAIN = a_version({"get": [], "align": ["get"], "align_qc": ["align"], "report": ["align_qc"]})


@pytest.mark.parametrize(("options", "names"), [
    (RunOptions(), {"get", "align", "align_qc", "report"}), (RunOptions(task_regex="^align"), {"get", "align", "align_qc"}),
    (RunOptions(task_regex="^align", alone=True), {"align", "align_qc"}), (RunOptions(task_regex="qc|rep", alone=True), {"align_qc", "report"}),
    (RunOptions(task_regex="absent"), set()),
])
def test_a_regular_expression_chooses_tasks_and_what_they_depend_on(options: RunOptions, names: set[str]) -> None:
    assert {CHAIN.tasks[index].task_id for index in partial.chosen(CHAIN, options)} == names
    assert {CHAIN.tasks[index].task_id for index in partial.left_out(CHAIN, options)} == {"get", "align", "align_qc", "report"} - names


def test_the_options_of_a_run_come_back_as_they_were_and_most_runs_say_nothing_of_them() -> None:
    run = a_run(options=RunOptions(task_regex="x", pool="p"), backfill_id=3)
    assert RunInfo.from_json(run.to_json()) == run
    assert "options" not in a_run().to_json()
    assert "backfill" not in a_run().to_json()
    assert RunInfo.from_json(a_run().to_json()) == a_run()
