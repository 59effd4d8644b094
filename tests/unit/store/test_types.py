from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import DateTime
from sqlalchemy.dialects import sqlite

from rqflow.store.types import UtcDateTime

DIALECT = sqlite.dialect()


@pytest.mark.parametrize("moment", [
    datetime(2026, 11, 23, 1, 2, 3, 4, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=5))),
])
def test_sqlite_gets_the_text_that_its_own_type_writes(moment: datetime) -> None:
    own, ours = DateTime().dialect_impl(DIALECT).bind_processor(DIALECT), UtcDateTime().bind_processor(DIALECT)
    assert own is not None
    assert ours is not None
    assert ours(moment) == own(moment.astimezone(UTC).replace(tzinfo=None))
    assert ours(None) is None


def test_moment_without_a_zone_is_refused() -> None:
    ours = UtcDateTime().bind_processor(DIALECT)
    assert ours is not None
    with pytest.raises(ValueError, match="no time zone"):
        ours(datetime(2026, 1, 1))
