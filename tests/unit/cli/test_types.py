from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest

from rqflow.cli.types import COUNT, COUNT_OR_NONE, MOMENT, SCHEDULED_DATE, SIGNAL, moment

NOW = datetime(2026, 11, 23, 8, 30, tzinfo=UTC)


@pytest.mark.parametrize(("text", "found"), [
    ("now", NOW), ("yesterday", datetime(2026, 11, 22, tzinfo=UTC)), ("-2h", NOW - timedelta(hours=2)), ("7d", NOW - timedelta(days=7)),
    ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)), ("2026-11-01T08:00+01:00", datetime(2026, 11, 1, 7, tzinfo=UTC)),
    ("2026-11-01T08:00:00Z", datetime(2026, 11, 1, 8, tzinfo=UTC)),
])
def test_times_are_understood(text: str, found: datetime) -> None:
    assert moment(text, NOW) == found


@pytest.mark.parametrize("text", ["soon", "", "2026-13-01", "tomorrow"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no duration"):
        moment(text, NOW)


@pytest.mark.parametrize(("text", "number"), [("TERM", 15), ("sigint", 2), ("SIGUSR1", 10), ("kill", 9)])
def test_signals_are_named_with_and_without_sig(text: str, number: int) -> None:
    assert SIGNAL.convert(text, None, None) == number


@pytest.mark.parametrize("text", ["", "0", "9", "STOP", "SIGSIGTERM", "TERM "])
def test_other_signals_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is none of TERM"):
        SIGNAL.convert(text, None, None)


@pytest.mark.parametrize("text", ["0", "-1", "2147483648", "1.5", "x", "", "9" * 5000])
def test_counts_that_no_database_could_keep_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        COUNT.convert(text, None, None)
    assert COUNT.convert("2147483647", None, None) == 2147483647
    assert COUNT_OR_NONE.convert("0", None, None) == 0


@pytest.mark.parametrize("text", ["0001-01-01", "0999-12-31", "9001-01-01", "9999-12-31T23:59:59"])
def test_dates_that_no_database_could_keep_are_refused(text: str) -> None:
    for kind in (MOMENT, SCHEDULED_DATE):
        with pytest.raises(click.BadParameter, match="the year is from 1000 to 9000"):
            kind.convert(text, None, None)
