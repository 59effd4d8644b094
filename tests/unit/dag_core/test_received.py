"""Versions that somebody sends: what is right is taken as it is, whatever else there is raises ValueError and nothing else."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqflow.dag.received import version_of
from rqflow.dag.version import Version
from tests.unit.builders import a_task, a_version

GOOD = a_version({"a": [], "b": ["a"], "c": ["a", "b"]}, schedule="0 3 * * *", start_date="2026-01-01T00:00:00+00:00", params={"n": 1},
                 param_specs={"n": {"schema": {"type": "integer"}}}, sources={"d.py": "x", "b.bin": {"base64": "AA=="}}, file="d.py",
                 timezone="Europe/Berlin", each={"retries": 2, "execution_timeout": 5.0, "worker_labels": ("gpu",)})


def written(plain: Any) -> str:
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def test_a_version_comes_through_as_it_was() -> None:
    found = version_of(GOOD.json, ("signature",))
    assert (found, found.sha, found.signatures) == (GOOD, GOOD.sha, ("signature",))


def test_tasks_with_more_come_through() -> None:
    version = a_version(specs=[a_task("x", pool_slots=2, email=("a@b.test",), sla=3.5, callbacks=("failure",))], callbacks=("run_failure",))
    assert version_of(version.json) == version


WRONG: dict[str, tuple[str, Any]] = {
    "a number for a name": ("dag_id", 5), "a path for a name": ("dag_id", "../x"), "no such time zone": ("timezone", "Nowhere/At-all"),
    "no schedule": ("schedule", "sometimes"), "no date": ("start_date", "soon"), "no generation": ("generation", "9"), "tags": ("tags", "abc"),
    "a file that leads out": ("file", "../../etc/passwd"), "a source that leads out": ("sources", {"/etc/passwd": "x"}),
    "bytes": ("sources", {"a": 5}), "no schema": ("param_specs", {"n": {"schema": {"type": "whatever"}}}),
    "too many at a time": ("max_active_runs", 2**40), "none at a time": ("max_active_runs", 0), "less than no time": ("dagrun_timeout", -1.0),
    "no tasks": ("tasks", 7), "no callback": ("callbacks", ["boom"]), "no group": ("groups", {"g": 1}), "a truth": ("max_active_runs", True),
    "format": ("format", 99), "an unknown field": ("colour", "red"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_none_is_refused(name: str) -> None:
    field, value = WRONG[name]
    with pytest.raises(ValueError, match=r"."):
        version_of(written({**json.loads(GOOD.json), field: value}))


@pytest.mark.parametrize(("index", "change"), [
    (0, {"task_id": "b"}), (1, {"upstream": [2]}), (1, {"upstream": []}), (2, {"downstream": [0]}), (0, {"index": 1}), (0, {"queue": "a b"}),
    (0, {"trigger_rule": "sometimes"}), (0, {"retries": -1}), (0, {"on_lost": "cry"}), (0, {"fields": []}), (0, {"email": "x"}),
    (0, {"task_id": ""}), (0, {"pool_slots": 0})])
def test_tasks_that_do_not_fit_are_refused(index: int, change: dict[str, Any]) -> None:
    plain = json.loads(GOOD.json)
    plain["tasks"][index].update(change)
    with pytest.raises(ValueError, match=r"."):
        version_of(written(plain))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "5", '{"format":1}', "[" * 100_000, GOOD.json + " ", GOOD.json.replace('"n":1', '"n":NaN'),
                                  GOOD.json.replace('"n":1', '"n":1,"n":1')], ids=range(10))
def test_what_is_no_canonical_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        version_of(text)


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6)


@given(st.data())
def test_nothing_that_is_sent_raises_anything_else(data: st.DataObject) -> None:
    plain = json.loads(GOOD.json)
    place = data.draw(st.sampled_from([plain, *plain["tasks"]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)
    with suppress(ValueError):
        assert isinstance(version_of(written(plain)), Version)


@pytest.mark.parametrize("schedule", ["timedelta:0", "timedelta:-5", "timedelta:1e-09", "timedelta:nan", "timedelta:inf", "timedelta:1e300", "timedelta:60.0",
                                      "timedelta:", "relativedelta:months=0", "relativedelta:years=-1", "relativedelta:days=1,months=1", "relativedelta:hour=3",
                                      "relativedelta:", "intervals:timedelta:0", "triggers:timedelta:0", "0 0 30 2 *", " 0 3 * * *", "@sometimes", "cron:0 3 * * *"])
def test_a_schedule_of_no_length_or_not_written_as_schedules_are_is_refused(schedule: str) -> None:
    """The dates of one of no length are gone through without an end."""
    with pytest.raises(ValueError, match=r"."):
        version_of(a_version(["a"], schedule=schedule, start_date="2026-01-01T00:00:00+00:00").json)


@pytest.mark.parametrize("schedule", [None, "@once", "@continuous", "@daily", "0 3 * * *", "*/5 * * * * 30", "timedelta:60", "timedelta:0.5", "relativedelta:months=1,days=-1",
                                      "intervals:timedelta:60", "triggers:0 3 * * *", "unsupported: Timetable"])
def test_schedules_that_files_have_come_through(schedule: str | None) -> None:
    assert version_of(a_version(["a"], schedule=schedule, start_date="2026-01-01T00:00:00+00:00").json).schedule == schedule
