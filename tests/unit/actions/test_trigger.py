from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rqflow.actions import trigger
from rqflow.actions.trigger import Given
from rqflow.exceptions import UsageError
from tests.unit.builders import a_task, a_version

NOW = datetime(2026, 11, 23, 8, 30, 15, 123456, tzinfo=UTC)


@pytest.mark.parametrize(("pairs", "defaults", "values"), [
    (["n=3"], {"n": 1}, {"n": 3}), (["n=3"], {"n": "1"}, {"n": "3"}), (["n=3"], {}, {"n": "3"}), (["n=x"], {"n": 1}, {"n": "x"}),
    (["n=[1, 2]"], {"n": []}, {"n": [1, 2]}), (["n=true"], {"n": False}, {"n": True}), (["n=a=b"], {}, {"n": "a=b"}), (["n="], {}, {"n": ""}),
])
def test_params_are_read_as_their_defaults_are(pairs: list[str], defaults: dict[str, Any], values: dict[str, Any]) -> None:
    assert trigger.read_params(pairs, defaults) == values


@pytest.mark.parametrize("pair", ["n", "=3"])
def test_params_without_name_or_value_are_refused(pair: str) -> None:
    with pytest.raises(UsageError, match="write it as name=value"):
        trigger.read_params([pair], {})


def test_conf_is_read_from_text_and_file(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"a": 1}')
    assert trigger.read_conf('{"a": 1}') == trigger.read_conf(f"@{tmp_path / 'c.json'}") == {"a": 1}


@pytest.mark.parametrize(("text", "message"), [
    ("{a: 1}", "--conf is no JSON"), ("[1]", "must be a JSON object"), ("@/absent.json", "No such file"), ("", "--conf is no JSON"),
])
def test_conf_that_is_no_object_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        trigger.read_conf(text)


def test_conf_that_is_no_utf8_or_nested_too_deep_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(UsageError, match="it is no UTF-8"):
        trigger.read_conf(f"@{tmp_path / 'c.json'}")
    with pytest.raises(UsageError, match=r"nested too deep|no JSON"):
        trigger.read_conf("[" * 200_000)


def test_params_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("city: Bern\nsizes: [1, 2]\n")
    assert trigger.read_params_file(str(file)) == trigger.read_params_file("-", '{"city": "Bern", "sizes": [1, 2]}') == {"city": "Bern", "sizes": [1, 2]}


@pytest.mark.parametrize(("text", "message"), [
    ("[1]", "must hold an object"), ("{a: ", "neither JSON nor YAML"), ("1: 2", "must hold an object"), ("day: 2026-01-01", "Put dates into quotes"),
])
def test_a_file_of_params_that_cannot_be_used_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        trigger.read_params_file("-", text)
    with pytest.raises(UsageError, match="No such file"):
        trigger.read_params_file("/absent.yaml")


def test_params_are_read_as_their_schemas_say() -> None:
    specs = {"n": {"schema": {"type": "integer"}, "required": True}, "code": {"schema": {"type": ["string", "null"]}}, "free": {"schema": {}}}
    assert trigger.read_params(["n=3", "code=007", "free=1"], {"free": 2}, specs) == {"n": 3, "code": "007", "free": 1}


def test_conf_gives_params_too_and_is_held_against_their_schemas() -> None:
    specs = {"n": {"schema": {"type": "integer", "maximum": 5}, "required": True}}
    version = a_version(param_specs=specs)
    assert trigger.by_hand(version, Given(conf={"n": 3, "other": "x"}), NOW).params == {"n": 3}
    with pytest.raises(UsageError, match="n: 7 does not fit maximum: 5"):
        trigger.by_hand(version, Given(conf={"n": 7}), NOW)
    with pytest.raises(UsageError, match="n: it has no default and must be given"):
        trigger.by_hand(version, Given(), NOW)


def test_a_run_by_hand_without_a_schedule_stands_for_its_moment() -> None:
    run = trigger.by_hand(a_version(), Given(), NOW)
    assert run.run_id == "manual__2026-11-23T08:30:15.123456+00:00"
    assert run.logical_date == run.data_interval_start == run.data_interval_end == NOW


def test_a_run_by_hand_of_a_daily_dag_covers_the_last_day() -> None:
    run = trigger.by_hand(a_version(schedule="@daily"), Given(), NOW)
    assert (run.data_interval_start, run.data_interval_end) == (datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC))
    assert run.logical_date == NOW


def test_what_was_given_is_laid_over_the_params() -> None:
    version = a_version(params={"a": 1, "b": 2, "c": 3})
    run = trigger.by_hand(version, Given(conf={"a": 10, "x": 1}, params={"b": 20}), NOW)
    assert run.params == {"a": 10, "b": 20, "c": 3}
    assert run.conf == {"a": 10, "x": 1}


@pytest.mark.parametrize("run_id", ["", " x", "x" * 251, "a\nb", "a\x00b"])
def test_run_ids_that_would_harm_are_refused(run_id: str) -> None:
    with pytest.raises(UsageError, match="run id"):
        trigger.by_hand(a_version(), Given(run_id=run_id), NOW)


@pytest.mark.parametrize("run_id", ["r 1", "läuft", "x" * 250, "a/b+c:d"])
def test_run_ids_with_unusual_characters_are_taken(run_id: str) -> None:
    assert trigger.by_hand(a_version(), Given(run_id=run_id), NOW).run_id == run_id


@pytest.mark.parametrize(("day", "said"), [
    ("2025-12-31", "d: no task of it is run: the logical date 2025-12-31T00:00:00+00:00 lies before start_date 2026-01-01T00:00:00+00:00"),
    ("2026-01-05", ""),
    ("2026-02-05", "d: b not run: the logical date 2026-02-05T00:00:00+00:00 lies after end_date 2026-02-01T00:00:00+00:00"),
])
def test_the_tasks_that_a_logical_date_leaves_out_are_named(day: str, said: str) -> None:
    start, end = "2026-01-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00"
    version = a_version(specs=[a_task("a", start_date=start), a_task("b", start_date=start, end_date=end)])
    moment = datetime.fromisoformat(day).replace(tzinfo=UTC)
    assert trigger.left_out(trigger.by_hand(version, Given(logical_date=moment), NOW), version) == said


def test_the_only_run_of_once_stands_for_the_start_date() -> None:
    run = trigger.once(a_version(schedule="@once", start_date="2026-01-01T00:00:00+00:00"), NOW)
    assert (run.run_id, run.run_type, run.logical_date) == ("scheduled__2026-01-01T00:00:00+00:00", "scheduled", datetime(2026, 1, 1, tzinfo=UTC))
