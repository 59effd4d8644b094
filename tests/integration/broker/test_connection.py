"""Which servers are refused or warned about, in words that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from rqflow.broker.connection import check_server, connect
from rqflow.exceptions import BrokerError
from rqflow.settings import Settings


def test_a_redis_that_keeps_nothing_on_disk_is_warned_about(db: redis.Redis, caplog: pytest.LogCaptureFixture) -> None:
    check_server(db)
    assert "keeps nothing on disk" in caplog.text


@pytest.mark.parametrize(("name", "value", "before"), [("save", "3600 1", ""), ("appendonly", "yes", "no")])
def test_a_redis_that_keeps_its_data_is_not(db: redis.Redis, caplog: pytest.LogCaptureFixture, name: str, value: str, before: str) -> None:
    db.config_set(name, value)
    try:
        check_server(db)
    finally:
        db.config_set(name, before)
    assert not caplog.text


def test_a_redis_that_is_not_there_is_named_without_its_password(home: Path) -> None:
    with pytest.raises(BrokerError, match=r"redis://:\*\*\*@localhost:1/0") as caught:
        connect("redis://:secret@localhost:1/0", Settings(home=home))
    assert "secret" not in str(caught.value)
