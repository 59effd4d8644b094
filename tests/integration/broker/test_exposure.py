"""Reliability 75: a Redis that everybody of a network may use is refused, with the reason."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from rqflow.broker import exposure
from rqflow.broker.connection import connect
from rqflow.exceptions import BrokerError, ConfigError
from rqflow.settings import RedisSettings, Settings
from tests.services import redis_server


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=home)


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[str]:
    """The unix URL of a Redis that listens on a port of the loopback address, in protected mode."""
    with redis_server(tmp_path, "--port", str(port()), "--bind", "127.0.0.1") as url:
        yield url


def tcp(url: str, host: str = "127.0.0.1") -> str:
    with redis.Redis.from_url(url) as connection:
        return f"redis://{host}:{connection.config_get('port')['port']}/0"


def test_r75_a_redis_of_this_machine_that_listens_elsewhere_without_a_password_is_refused(listening: str, settings: Settings) -> None:
    connect(tcp(listening), settings).close()
    with redis.Redis.from_url(listening) as admin:
        admin.config_set("protected-mode", "no")
        connect(tcp(listening), settings).close()
        admin.config_set("bind", "0.0.0.0")
        for url in (tcp(listening), listening):
            with pytest.raises(ConfigError, match=r"is open: it listens on 0\.0\.0\.0 with protected-mode no, and asks for no password") as refused:
                connect(url, settings)
            assert "requirepass" in refused.value.hint or "password" in refused.value.hint
        connect(listening, replace(settings, redis=RedisSettings(allow_open=True))).close()
        admin.config_set("protected-mode", "yes")
        connect(listening, settings).close()


def test_r75_a_redis_of_another_machine_needs_a_password_that_it_asks_for(listening: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposure, "is_loopback", lambda host: False)
    with pytest.raises(ConfigError, match="has no password"):
        connect(tcp(listening), settings)
    with redis.Redis.from_url(listening) as admin:
        address = tcp(listening).removeprefix("redis://")
        admin.execute_command("ACL", "SETUSER", "rqflow", "on", ">pw", "~*", "&*", "+@all")
        with pytest.raises(ConfigError, match="it lets anybody in without a password"):
            connect(f"redis://rqflow:pw@{address}", settings)
        admin.execute_command("ACL", "SETUSER", "default", "resetpass", ">another")
        connect(f"redis://rqflow:pw@{address}", settings).close()
        with pytest.raises(BrokerError, match="refuses the password"):
            connect(f"redis://rqflow:no@{address}", settings)
