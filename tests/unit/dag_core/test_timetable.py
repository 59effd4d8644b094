from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pendulum
import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import given
from hypothesis import strategies as st

from rqflow import DAG
from rqflow.dag import series
from rqflow.dag.airflow.timetables import CronDataIntervalTimetable, CronTriggerTimetable, DeltaDataIntervalTimetable, DeltaTriggerTimetable
from rqflow.dag.arguments import ABSENT
from rqflow.dag.serialization import version_of
from rqflow.dag.timetable import Rhythm, Timetable, of, schedule_text, zone, zone_name
from tests.unit.builders import a_version


class Dataset:
    pass


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (None, None),
        ("@once", "@once"),
        ("@daily", "@daily"),
        ("0 6 * * * ", "0 6 * * *"),
        ("0  6 * * MON-FRI", "0 6 * * MON-FRI"),
        ("*/10 * * * * 30", "*/10 * * * * 30"),
        ("0 0 * * 6#1", "0 0 * * 6#1"),
        ("1/10 * * * *", "1/10 * * * *"),
        (timedelta(hours=1), "timedelta:3600"),
        (timedelta(milliseconds=1500), "timedelta:1.5"),
        (relativedelta(months=1, days=2), "relativedelta:months=1,days=2"),
        (Dataset(), "unsupported: Dataset"),
        ([Dataset(), Dataset()], "unsupported: Dataset"),
        (relativedelta(day=1), "unsupported: relativedelta"),
        ("@continuous", "@continuous"),
    ],
)
def test_schedule_is_kept_as_text(given: object, text: str | None) -> None:
    assert schedule_text(given, "2") == text


@pytest.mark.parametrize(("generation", "text"), [("1", "timedelta:86400"), ("2", "timedelta:86400"), ("3", None), ("native", None)])
def test_no_schedule_means_what_it_means_in_its_generation(generation: str, text: str | None) -> None:
    assert schedule_text(ABSENT, generation) == text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("0 100 * * *", "'100' as its hour; allowed are 0-23"),
        ("61 * * * *", "'61' as its minute"),
        ("0 0 1 13 *", "'13' as its month"),
        ("0 0 * * FUN", "'FUN' as its day of week"),
        ("* * * * * 61", "'61' as its second"),
        ("0 0 30 2 *", "never comes"),
        ("0 6 *", "has 3 fields"),
        ("", "has 0 fields"),
        ("@dayly", "did you mean @daily"),
        (timedelta(0), "longer than 0 s"),
        (timedelta(days=-1), "longer than 0 s"),
        (relativedelta(months=-1), "longer than 0 s"),
    ],
)
def test_bad_schedule_is_refused_with_its_fault(given: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        schedule_text(given, "2")


@pytest.mark.parametrize(
    ("zone_given", "name"),
    [
        (None, "UTC"),
        (UTC, "UTC"),
        (timezone(timedelta(0)), "UTC"),
        (timezone(timedelta(hours=5, minutes=30)), "+05:30"),
        (timezone(timedelta(hours=-3)), "-03:00"),
        (ZoneInfo("Europe/Berlin"), "Europe/Berlin"),
        (pendulum.timezone("America/New_York"), "America/New_York"),
        (pendulum.timezone("UTC"), "UTC"),
        (pendulum.timezone(7200), "+02:00"),
    ],
)
def test_zone_is_kept_by_its_name(zone_given: object, name: str) -> None:
    assert zone_name(zone_given) == name  # type: ignore[arg-type]
    summer = datetime(2024, 7, 1, tzinfo=UTC)
    if zone_given is not None:
        assert summer.astimezone(zone(name)).utcoffset() == summer.astimezone(zone_given).utcoffset()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("schedule", "moment", "before", "after"),
    [
        ("@daily", "2024-01-02", "2024-01-01", "2024-01-03"),
        ("@daily", "2024-01-02T10:30", "2024-01-02", "2024-01-03"),
        ("@weekly", "2016-05-29", "2016-05-22", "2016-06-05"),
        ("@quarterly", "2024-02-01", "2024-01-01", "2024-04-01"),
        ("* * * * * 30", "2024-01-01T00:00:30", "2023-12-31T23:59:30", "2024-01-01T00:01:30"),
        ("*/45 * * * *", "2024-01-01T00:45", "2024-01-01", "2024-01-01T01:00"),
        ("timedelta:90", "2024-01-01", "2023-12-31T23:58:30", "2024-01-01T00:01:30"),
        ("relativedelta:months=1", "2024-01-31", "2023-12-31", "2024-02-29"),
    ],
)
def test_neighbours_of_a_date(schedule: str, moment: str, before: str, after: str) -> None:
    table = Timetable(schedule=schedule)
    assert (table.before(at(moment)), table.after(at(moment))) == (at(before), at(after))


@pytest.mark.parametrize("schedule", [None, "@once", "unsupported: Dataset"])
def test_no_series_has_no_neighbours_and_empty_intervals(schedule: str | None) -> None:
    table = Timetable(schedule=schedule)
    day = at("2024-01-01")
    assert (table.before(day), table.after(day)) == (None, None)
    assert table.scheduled_interval(day) == table.manual_interval(day) == (day, day)


@pytest.mark.parametrize("generation", ["1", "2", "native"])
@pytest.mark.parametrize(
    ("schedule", "moment", "scheduled_end", "manual"),
    [
        ("@daily", "2024-01-02", "2024-01-03", ("2024-01-01", "2024-01-02")),
        ("@daily", "2024-01-02T10:30", "2024-01-03", ("2024-01-01", "2024-01-02")),
        ("timedelta:3600", "2024-01-02T10:30", "2024-01-02T11:30", ("2024-01-02T09:30", "2024-01-02T10:30")),
    ],
)
def test_intervals_until_airflow_2(generation: str, schedule: str, moment: str, scheduled_end: str, manual: tuple[str, str]) -> None:
    table = Timetable(schedule=schedule, generation=generation)
    assert table.scheduled_interval(at(moment)) == (at(moment), at(scheduled_end))
    assert table.manual_interval(at(moment)) == (at(manual[0]), at(manual[1]))


@pytest.mark.parametrize("schedule", ["@daily", "timedelta:3600"])
def test_intervals_of_airflow_3_are_empty(schedule: str) -> None:
    table = Timetable(schedule=schedule, generation="3")
    day = at("2024-01-02T10:30")
    assert table.scheduled_interval(day) == table.manual_interval(day) == (day, day)


def test_cron_follows_the_wall_clock_of_its_zone() -> None:
    table = Timetable(schedule="0 9 * * *", timezone="America/New_York")
    assert table.after(at("2024-03-09T14:00")) == at("2024-03-10T13:00")
    assert table.before(at("2024-11-03T14:00")) == at("2024-11-02T13:00")


def test_night_hour_that_spring_leaves_out_comes_once_and_that_of_autumn_once() -> None:
    table = Timetable(schedule="30 2 * * *", timezone="Europe/Berlin")
    assert table.after(at("2024-03-30T12:00")) == at("2024-03-31T01:30")
    assert table.after(at("2024-03-31T01:30")) == at("2024-04-01T00:30")
    assert table.after(at("2024-10-26T12:00")) == at("2024-10-27T00:30")
    assert table.after(at("2024-10-27T00:30")) == at("2024-10-28T01:30")
    assert table.after(at("2024-10-27T01:00")) == at("2024-10-28T01:30")


def test_every_hour_is_every_hour_when_the_clock_changes() -> None:
    table = Timetable(schedule="@hourly", timezone="Europe/Berlin")
    moment = at("2024-10-26T22:00")
    for hour in range(1, 6):
        moment = table.after(moment)
        assert moment == at("2024-10-26T22:00") + timedelta(hours=hour)


@pytest.mark.parametrize(("schedule", "dates"), [
    ("0 * * * *", ["2024-04-06T13:00", "2024-04-06T14:00", "2024-04-06T15:30", "2024-04-06T16:30"]),
    ("50 * * * *", ["2024-04-06T13:50", "2024-04-06T14:50", "2024-04-06T15:20", "2024-04-06T16:20"]),
    ("0 * * * *", ["2024-10-05T14:30", "2024-10-05T16:00", "2024-10-05T17:00"]),
])
def test_dates_are_what_the_clock_shows_where_it_changes_by_half_an_hour(schedule: str, dates: list[str]) -> None:
    table = Timetable(schedule=schedule, timezone="Australia/Lord_Howe")
    for one, following in pairwise(map(at, dates)):
        assert (table.after(one), table.before(following)) == (following, one)


def test_every_sixth_hour_keeps_to_the_clock_when_it_changes() -> None:
    table = Timetable(schedule="15 */6 * * *", timezone="Europe/Berlin")
    for midnight, after, next_one in (("2024-10-26T22:15", 7, 6), ("2024-03-30T23:15", 5, 6)):
        six = table.after(at(midnight))
        assert six == at(midnight) + timedelta(hours=after)
        assert table.after(six) == six + timedelta(hours=next_one)
        assert table.before(six) == at(midnight)


@given(
    st.sampled_from(["@hourly", "@daily", "30 2 * * *", "15 */6 * * *", "0 0 1 * *", "*/7 1-3 * * *", "0 3 * * MON", "timedelta:5400"]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "+05:30"]),
    st.datetimes(datetime(2023, 1, 1), datetime(2026, 1, 1)),
)
def test_dates_come_one_after_the_other(schedule: str, name: str, moment: datetime) -> None:
    table = Timetable(schedule=schedule, timezone=name)
    moment = moment.replace(tzinfo=UTC)
    after, before = table.after(moment), table.before(moment)
    assert before < moment < after
    assert table.before(after) <= moment
    assert table.after(before) >= moment
    start, end = table.manual_interval(moment)
    assert start < end <= moment


@pytest.mark.parametrize(("made", "generation", "text", "interval"), [
    (CronDataIntervalTimetable("0 6 * * *", timezone="Europe/Berlin"), "2", "0 6 * * *", timedelta(days=1)),
    (CronDataIntervalTimetable("0 6 * * *", timezone="Europe/Berlin"), "3", "intervals:0 6 * * *", timedelta(days=1)),
    (CronTriggerTimetable("0 6 * * *", timezone=ZoneInfo("Europe/Berlin")), "2", "triggers:0 6 * * *", timedelta(0)),
    (CronTriggerTimetable("0 6 * * *", timezone="Europe/Berlin"), "3", "0 6 * * *", timedelta(0)),
    (DeltaDataIntervalTimetable(timedelta(hours=2)), "3", "intervals:timedelta:7200", timedelta(hours=2)),
    (DeltaTriggerTimetable(timedelta(hours=2)), "2", "triggers:timedelta:7200", timedelta(0)),
    (CronTriggerTimetable("0 6 * * *", timezone="UTC", interval=timedelta(days=1)), "2", "unsupported: a trigger timetable with an interval", timedelta(0)),
])
def test_timetables_say_themselves_what_their_runs_cover(made: Rhythm, generation: str, text: str, interval: timedelta) -> None:
    assert schedule_text(made, generation) == text
    table = of(a_version(schedule=text, generation=generation, timezone=made.timezone or "UTC"))
    day = at("2024-07-01T04:00")
    start, end = table.scheduled_interval(day)
    assert (start, end - start) == (day, interval)
    if table.is_cron:
        assert table.after(at("2024-07-01T03:00")) == day, "six in Berlin"


def test_a_timetable_of_a_file_gives_its_dag_the_zone() -> None:
    dag = DAG("d", timetable=CronTriggerTimetable("0 6 * * *", timezone="Asia/Tokyo"), start_date="2024-01-01")
    version = version_of(dag, file="d.py", generation="2", sources={})
    assert (version.schedule, version.timezone) == ("triggers:0 6 * * *", "Asia/Tokyo")
    assert [one.end.isoformat() for one in islice(series.of(version, at("2024-01-01")).complete(at("2024-01-03")), 9)] == [
        "2024-01-01T21:00:00+00:00", "2024-01-02T21:00:00+00:00"]


def test_timetable_of_a_version() -> None:
    assert of(a_version(schedule="@daily", generation="3")) == Timetable(schedule="@daily", timezone="UTC", generation="3")
