"""What submit says of a schedule, and the commands that steer it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Rqflow

HOURLY = """
from datetime import datetime, timedelta
import pendulum
from rqflow import DAG, EmptyOperator
with DAG("h", schedule={schedule!r}, start_date={start}, catchup={catchup}):
    EmptyOperator(task_id="a")
"""
LONG_AGO = 'pendulum.datetime(2020, 1, 1, tz="Asia/Tokyo")'


@pytest.fixture
def write(tmp_path: Path):  # type: ignore[no-untyped-def]
    def to(schedule: object = "0 9 * * *", start: str = LONG_AGO, catchup: object = None) -> Path:
        path = tmp_path / "h.py"
        path.write_text(HOURLY.format(schedule=schedule, start=start, catchup=catchup))
        return path

    return to


def test_submit_says_when_the_next_run_is_by_the_clock_of_the_dag_and_by_the_viewers(rqflow: Rqflow, write) -> None:  # type: ignore[no-untyped-def]
    said = rqflow("--tz", "Europe/Berlin", "submit", write())
    assert said.code == 0, said
    assert "more than 1,000 past dates are left out (no catch-up)" in said.err
    assert "next run at " in said.err
    assert "09:00:00 Asia/Tokyo = " in said.err
    assert "covers [" in said.err


def test_the_next_runs_are_shown_with_what_they_cover(rqflow: Rqflow, write) -> None:  # type: ignore[no-untyped-def]
    rqflow("submit", write())
    found = json.loads(rqflow("dag", "next", "h", "-n", "3", "-o", "json").out)
    assert [one["dag_id"] for one in found] == ["h"] * 3
    assert all(one["due_at"] == one["data_interval_end"] and one["due_at"][11:19] == "00:00:00" for one in found)
    assert found[0]["data_interval_end"] == found[1]["data_interval_start"]
    assert all(one["due_local"].endswith(" 09:00:00 Asia/Tokyo") for one in found)
    assert rqflow("dag", "next", "absent").code == 3


def test_a_dag_without_a_schedule_says_that_nothing_comes(rqflow: Rqflow, write) -> None:  # type: ignore[no-untyped-def]
    assert "nothing starts by itself: add --run" in rqflow("submit", write(None)).err
    said = rqflow("dag", "next", "h", "-o", "json")
    assert (said.code, json.loads(said.out)) == (0, [])
    assert "no run comes by itself: its schedule is none" in said.err


def test_a_paused_dag_says_how_it_goes_on(rqflow: Rqflow, write) -> None:  # type: ignore[no-untyped-def]
    rqflow("submit", write())
    assert "h: paused" in rqflow("dag", "pause", "h").err
    assert "h: was paused already" in rqflow("pause", "h").err
    assert "`rqflow dag unpause h` lets these start" in rqflow("dag", "next", "h").err
    assert json.loads(rqflow("dag", "list", "-o", "json").out)[0]["is_paused"] is True
    assert "h: unpaused; next run at" in rqflow("dag", "unpause", "--all").err
    assert rqflow("dag", "pause", "absent").code == 3
    assert rqflow("dag", "pause").code == 2


def test_many_past_runs_are_refused_until_somebody_says_how_many(rqflow: Rqflow, write) -> None:  # type: ignore[no-untyped-def]
    path = write("@hourly", "datetime.now() - timedelta(days=2)", catchup=True)
    refused = rqflow("submit", path)
    assert refused.code == 2
    assert "h would start 47 past runs" in refused.err or "h would start 48 past runs" in refused.err
    assert "--catchup none" in refused.err
    assert json.loads(rqflow("dag", "list", "-o", "json").out) == []
    assert rqflow("submit", path, "--catchup", "some").code == 2
    assert "3 past dates are run now" in rqflow("submit", path, "--catchup", "3").err


@pytest.mark.parametrize(("schedule", "told"), [("0 0 31 2 *", "never comes"), ("0 100 * * *", "as its hour"), ("@sometimes", "there is no schedule")])
def test_a_schedule_that_means_nothing_is_refused(schedule: str, told: str, rqflow: Rqflow, write) -> None:  # type: ignore[no-untyped-def]
    said = rqflow("submit", write(schedule))
    assert said.code == 6
    assert told in said.err
    assert "h.py:5" in said.err


NAIVE = "datetime(2020, 1, 1)"


def test_a_schedule_without_a_zone_is_warned_of_once_where_the_clock_on_the_wall_is_another(
        rqflow: Rqflow, write, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("rqflow.clock.local_zone", lambda: "Europe/Berlin")
    said = rqflow("submit", write(start=NAIVE))
    assert said.err.count("this machine's zone is Europe/Berlin") == 1
    assert "Write `default_timezone = Europe/Berlin` (or UTC, to be told no more) under [core] in rqflow.cfg" in said.err
    assert "Europe/Berlin" not in rqflow("submit", write()).err, "the file names its zone"
    assert "Europe/Berlin" not in rqflow("submit", write(None, start=NAIVE)).err, "nothing comes by a clock"
    monkeypatch.setenv("RQFLOW__CORE__DEFAULT_TIMEZONE", "UTC")
    assert "Europe/Berlin" not in rqflow("submit", write(start=NAIVE)).err, "somebody has said which zone is meant"


def test_a_schedule_without_a_zone_is_meant_in_the_default_zone(rqflow: Rqflow, write, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("RQFLOW__CORE__DEFAULT_TIMEZONE", "Asia/Tokyo")
    assert "09:00:00 Asia/Tokyo = " in rqflow("submit", write(start=NAIVE)).err
    assert [one["due_at"][11:19] for one in json.loads(rqflow("dag", "next", "h", "-n", "2", "-o", "json").out)] == ["00:00:00"] * 2


def test_a_zone_that_is_none_is_an_error_of_the_configuration(rqflow: Rqflow, write, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("RQFLOW__CORE__DEFAULT_TIMEZONE", "Berlin")
    said = rqflow("submit", write())
    assert said.code == 6
    assert "RQFLOW__CORE__DEFAULT_TIMEZONE: core.default_timezone: 'Berlin' is no time zone" in said.err


def test_init_tells_the_zone_of_the_machine(rqflow: Rqflow, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rqflow.clock.local_zone", lambda: "Europe/Berlin")
    assert rqflow("init").code == 0
    text = (home / "rqflow.cfg").read_text()
    assert "This machine's is Europe/Berlin." in text
    assert "#default_timezone = UTC" in text


def test_why_tells_of_a_dag_why_no_run_of_it_starts_and_of_a_run_why_its_tasks_wait(rqflow: Rqflow, write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    rqflow("submit", write())
    found = json.loads(rqflow("why", "h", "-o", "json").out)
    assert found["reason"].startswith("its next run is not yet due: ")
    due = rqflow("--tz", "Europe/Berlin", "why", "h").out
    assert "09:00:00 Asia/Tokyo = 20" in due
    assert " 01:00:00 CET" in due or " 02:00:00 CEST" in due
    rqflow("dag", "pause", "h")
    assert "h: it is paused: " in rqflow("why", "h").out
    assert "`rqflow dag unpause h`" in rqflow("why", "h").out
    assert rqflow("why", "absent").code == 3
