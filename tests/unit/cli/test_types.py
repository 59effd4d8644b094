from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rqflow.cli.types import moment

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
