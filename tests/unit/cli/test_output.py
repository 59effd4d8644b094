from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from rqflow.cli import output
from rqflow.cli.output import Column, Printer
from rqflow.exceptions import UsageError

AT = datetime(2026, 11, 23, 8, 0, 0, 5, tzinfo=UTC)
ROWS: list[dict[str, Any]] = [{"name": "a", "at": AT, "slots": 3, "none": None}, {"name": "b b", "at": AT, "slots": 4, "none": None}]
COLUMNS = [Column("name", "NAME"), Column("at", "AT"), Column("slots", "SLOTS", wide=True)]


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_a_table_off_a_terminal_has_no_colour_and_cuts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Printer().records([{"name": "x" * 300, "at": AT}], COLUMNS)
    assert printed(capsys) == f"NAME{' ' * 296}  AT\n{'x' * 300}  2026-11-23T08:00:00+00:00\n"


def test_a_table_shows_the_names_of_a_list_and_nothing_for_an_empty_one(capsys: pytest.CaptureFixture[str]) -> None:
    Printer().records([{"name": "a", "tags": ["x", "y z"]}, {"name": "b", "tags": []}], [Column("name", "NAME"), Column("tags", "TAGS")])
    assert printed(capsys).splitlines()[1:] == ["a     x, y z", "b"]


def test_wide_shows_more(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(format="wide").records(ROWS, COLUMNS)
    assert printed(capsys).splitlines()[0].split() == ["NAME", "AT", "SLOTS"]


def test_json_holds_all_with_microseconds(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(format="json").records(ROWS, COLUMNS)
    assert json.loads(printed(capsys))[0] == {"name": "a", "at": "2026-11-23T08:00:00.000005+00:00", "slots": 3, "none": None}


def test_yaml_holds_what_json_holds(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(format="yaml").records(ROWS, COLUMNS)
    assert yaml.safe_load(printed(capsys))[1]["name"] == "b b"


def test_csv_has_a_head_and_all_columns(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(format="csv").records(ROWS, COLUMNS)
    assert printed(capsys).splitlines() == ["name,at,slots", "a,2026-11-23T08:00:00.000005+00:00,3", "b b,2026-11-23T08:00:00.000005+00:00,4"]


def test_names_stand_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(format="name").records(ROWS, COLUMNS)
    assert printed(capsys) == "a\nb b\n"


def test_an_empty_list_is_an_empty_json_list(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(format="json").records([], COLUMNS)
    assert printed(capsys) == "[]\n"


def test_fields_choose_columns(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(format="json", fields=("slots",)).records(ROWS, COLUMNS)
    assert json.loads(printed(capsys)) == [{"slots": 3}, {"slots": 4}]


def test_names_are_printed_whatever_fields_were_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(format="name", fields=("slots",)).records(ROWS, COLUMNS)
    assert printed(capsys) == "a\nb b\n"


def test_an_unknown_field_is_refused_naming_those_there_are() -> None:
    with pytest.raises(UsageError, match="there is no field slot\nThere are: name, at"):
        Printer(fields=("slot",)).records(ROWS, COLUMNS)


def test_times_are_shown_in_the_zone_that_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(zone=ZoneInfo("Europe/Berlin")).records(ROWS[:1], COLUMNS)
    assert "2026-11-23T09:00:00+01:00" in printed(capsys)


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(UsageError, match="no time zone 'Mars/Base'"):
        output.zone("Mars/Base")


@pytest.mark.parametrize(("seconds", "text"), [(None, ""), (0, "0.0s"), (0.0002, "1ms"), (0.0404, "40ms"), (0.4, "0.4s"), (9.96, "10.0s"), (12.4, "12s"), (185, "3m05s"), (7620, "2h07m")])
def test_durations_are_short(seconds: float | None, text: str) -> None:
    assert output.duration(seconds) == text
