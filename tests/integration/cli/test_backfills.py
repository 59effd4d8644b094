"""What `rqflow backfill` says: to bad input, before it starts anything, and to those who knew Airflow 1.7."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rqflow.actions import backfill
from rqflow.deploy.services import open_services
from rqflow.exceptions import Conflict
from rqflow.settings import load
from tests.integration.cli.conftest import Result, Rqflow

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAGS = """
from datetime import datetime, timedelta
import pendulum
from rqflow import DAG, EmptyOperator
def dag(name, **given):
    # Paused, so that no scheduler is started here, which would go on for as long as something is due soon.
    with DAG(name, is_paused_upon_creation=True, **{"start_date": datetime(2026, 1, 1), **given}) as made:
        EmptyOperator(task_id="get") >> EmptyOperator(task_id="align", depends_on_past=name == "past")
    return made
daily, minutes, past = dag("daily", schedule="@daily", max_active_runs=7), dag("minutes", schedule="* * * * *"), dag("past", schedule="@daily")
berlin = dag("berlin", schedule="@daily", start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Berlin"))
none, once, tomorrow = dag("none", schedule=None), dag("once", schedule="@once"), dag("tomorrow", schedule="@daily", start_date=datetime(2999, 1, 1))
needs = dag("needs", schedule="@daily", params={"sample": __import__("rqflow").Param("x", type="string")})
"""
#: What is asked for -> the exit code and a part of what is said.
BAD: list[tuple[Sequence[str], int, str]] = [
    (("absent", "--from", "2026-01-01", "--to", "2026-01-02"), 3, "there is no DAG absent"),
    (("daily", "--from", "2026-01-03", "--to", "2026-01-02"), 2, "--to 2026-01-02T00:00:00 lies before --from 2026-01-03T00:00:00"),
    (("daily", "--from", "2026-01-03"), 2, "--to is missing"),
    (("daily", "--from", "soon", "--to", "now"), 2, "'soon' is no time"),
    (("daily", "--from", "2998-01-01", "--to", "2998-02-01"), 2, "is not due before 2998-01-02T00:00:00"),
    (("tomorrow", "--from", "2026-01-01", "--to", "now"), 2, "The nearest is 2999-01-01T00:00:00"),
    (("daily", "--from", "2025-01-01", "--to", "2025-02-01"), 2, "The nearest is 2026-01-01T00:00:00"),
    (("daily", "--from", "2026-01-01T01:00", "--to", "2026-01-01T02:00"), 2, "nearest are 2026-01-01T00:00:00 and 2026-01-02T00:00:00"),
    (("none", "--from", "2026-01-01", "--to", "2026-01-02"), 2, "has no schedule, which gives no dates to run\n`rqflow run start none --at DATE`"),
    (("once", "--from", "2026-01-01", "--to", "2026-01-02"), 2, "has the schedule @once, which gives no dates"),
    (("daily", "--from", "2026-01-01", "--to", "2026-01-02", "-t", "absent"), 3, "no task of daily matches 'absent'\nIt has get, align."),
    (("daily", "--from", "2026-01-01", "--to", "2026-01-02", "-t", "("), 2, "is no regular expression"),
    (("daily", "--from", "2026-01-01", "--to", "2026-01-02", "--pool", "absent"), 3, "there is no pool absent"),
    (("daily", "--from", "2026-01-01", "--to", "2026-01-02", "--max-active", "0"), 2, "--max-active"),
    (("daily", "--from", "2026-01-01", "--to", "2026-01-02", "--conf", "[]"), 2, "--conf must be a JSON object"),
    (("daily", "--from", "2026-01-01", "--to", "2026-01-02", "-m", "--rerun", "all"), 2, "--mark-success is for dates without a run"),
    (("past", "--from", "2026-01-01", "--to", "2026-01-02", "--reverse"), 2, "align waits for the date before"),
    (("needs", "--from", "2026-01-01", "--to", "2026-01-02", "--conf", '{"sample": 3}'), 2, "sample: 3 does not fit type: 'string'"),
    (("daily", "--from", "2026-01-01", "--to", "2026-01-02", "--timeout", "1s"), 2, "Add --watch or --wait."),
    (("minutes", "--from", "2020-01-01", "--to", "now"), 2, "dates, more than 1,000 (scheduler.backfill_ask_above)\nAdd --yes"),
]


@pytest.fixture
def submitted(rqflow: Rqflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rqflow:
    monkeypatch.setenv("RQFLOW__SCHEDULER__IDLE_EXIT", "1s")
    (tmp_path / "dags.py").write_text(DAGS)
    said = rqflow("submit", tmp_path / "dags.py")
    assert said.code == 0, said
    return rqflow


def dates(said: Result) -> list[str]:
    assert said.code == 0, said
    return [one["logical_date"][:16] for one in json.loads(said.out)]


def test_bad_input_is_refused_and_says_what_to_do_and_nothing_is_started(submitted: Rqflow) -> None:
    for words, code, told in BAD:
        said = submitted("backfill", "start", *words)
        assert said.code == code, (words, said)
        assert told in said.err, (words, said)
    said = submitted("backfill", "list", "-o", "json")
    assert (said.code, json.loads(said.out)) == (0, [])
    for words in (("show", "1"), ("pause", "daily"), ("cancel", "99"), ("resume", "x")):
        assert submitted("backfill", *words).code == 3


def test_a_dry_run_tells_what_would_become_of_each_date(submitted: Rqflow) -> None:
    said = submitted("backfill", "start", "daily", "--from", "2025-12-30", "--to", "2026-01-03", "-dr", "-o", "json", "-t", "^ge")
    assert dates(said) == ["2026-01-01T00:00", "2026-01-02T00:00", "2026-01-03T00:00"]
    assert {(one["deed"], *one["tasks"]) for one in json.loads(said.out)} == {("make", "get")}
    assert "daily starts at 2026-01-01T00:00:00: no date before that is run" in said.err
    assert "3 dates, 7 active at a time; of these 3 would be run, 0 run again, 0 left as they are. Nothing was started." in said.err
    said = submitted("backfill", "start", "minutes", "--from", "2026-01-01", "--to", "2026-06-01", "--dry-run", "-o", "json", "--reverse")
    assert dates(said)[:2] == ["2026-06-01T00:00", "2026-05-31T23:59"]
    assert len(json.loads(said.out)) == 1000
    assert "about 217,4" in said.err
    # A date without a zone is meant by the clock of the DAG.
    said = submitted("backfill", "start", "berlin", "--from", "2026-02-01", "--to", "2026-02-02", "--dry-run", "-o", "json")
    assert dates(said) == ["2026-01-31T23:00", "2026-02-01T23:00"]
    assert submitted("backfill", "start", "daily", "--from", "2026-01-01", "--to", "now", "--dry-run", "--fields", "absent").code == 2


def test_a_line_of_airflow_1_7_does_the_same_and_says_its_new_name(submitted: Rqflow) -> None:
    said = submitted("backfill", "-s", "2026-01-05", "-dr", "-l", "-x", "-a", "-i", "daily", "-o", "json")
    assert dates(said) == ["2026-01-05T00:00"]
    assert "is now `rqflow backfill start DAG --from DATE --to DATE`" in said.err
    for told in ("-l:", "-x:", "-a:", "-i means nothing without -t"):
        assert told in said.err
    said = submitted("backfill", "daily", "--end_date=2026-01-07", "--start_date", "2026-01-06", "-dr", "-o", "name", "--run_backwards")
    assert [line[:10] for line in said.out.split()] == ["2026-01-07", "2026-01-06"]
    # Without its dates it is no line of 1.7.
    assert submitted("backfill", "daily").code == 2


def test_a_backfill_that_waits_for_a_scheduler_is_listed_paused_and_cancelled(submitted: Rqflow, home: Path) -> None:
    with open_services(load(home=home)) as services:
        for dag_id in ("daily", "past"):
            planned = backfill.plan(services.broker, services.engine, backfill.Wish(dag_id=dag_id, first=FIRST, last=FIRST + timedelta(days=8)))
            backfill.start(services.engine, planned, by="ann")
        with pytest.raises(Conflict, match="backfill 1 of daily is queued"):
            backfill.plan(services.broker, services.engine, backfill.Wish(dag_id="daily", first=FIRST, last=FIRST))
        found = json.loads(submitted("backfill", "list", "--dag", "daily", "-o", "json").out)
        assert [(one["id"], one["state"], one["total"], one["waiting"], one["who"]) for one in found] == [(1, "queued", 9, 9, "ann")]
        assert "no scheduler runs that carries it on" in submitted("backfill", "show", "daily").out
        assert submitted("backfill", "pause", "daily", "2").code == 0
        assert "was paused already" in submitted("backfill", "pause", "daily").err
        assert [one["state"] for one in json.loads(submitted("backfill", "list", "--state", "paused", "-o", "json").out)] == ["paused"] * 2
        assert submitted("backfill", "show", "2", "--wait", "--timeout", "100ms").code == 124
        assert "goes on" in submitted("backfill", "resume", "past").err
        assert "is being cancelled" in submitted("backfill", "cancel", "daily").err
        shown = json.loads(submitted("backfill", "show", "daily", "-o", "json").out)
        assert (shown["state"], shown["from_date"], shown["active_runs"]) == ("cancelling", "2026-01-01T00:00:00.000000+00:00", [])
        assert submitted("scheduler", "--once").code == 0
        assert json.loads(submitted("backfill", "show", "1", "-o", "json").out)["state"] == "cancelled"
        assert "has ended: cancelled" in submitted("backfill", "resume", "1").err
