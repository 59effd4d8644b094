"""The live state as long-running processes open it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rqflow import settings as configuration
from rqflow.broker import keys
from rqflow.deploy.live import open_live
from tests.proxy import Proxy


@pytest.mark.usefixtures("db")
def test_redis_that_goes_again_just_after_it_has_answered_is_waited_for(redis_url: str, tmp_path: Path) -> None:
    with Proxy(redis_url.partition("://")[2].partition("?")[0]) as tunnel:
        settings = configuration.load(home=tmp_path, environ={"RQFLOW__REDIS__URL": tunnel.redis_url})
        tunnel.drop_request(keys.PROTOCOL.encode(), times=8)
        with open_live(settings, waits=True) as live:
            assert live.connection.ping()
        assert tunnel.dropped == 8
