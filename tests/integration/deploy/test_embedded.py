"""The private Redis with real processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
import redis

from rqflow.deploy import embedded, flock, statedir
from rqflow.deploy.embedded import Place
from rqflow.exceptions import BrokerError, ConfigError, Conflict
from rqflow.settings import RedisSettings, Settings
from tests.profile import NOISE
from tests.waiting import is_alive, until

MACHINE = statedir.this_machine()
LINGER = timedelta(seconds=0.4)
USER = """\
import sys, time
from pathlib import Path
from rqflow import settings
from rqflow.deploy import embedded, flock, statedir
s, m = settings.load(home=Path(sys.argv[1]), environ={"RQFLOW__REDIS__EMBEDDED_LINGER": "400ms"}), statedir.this_machine()
with embedded.running(s, embedded.place(statedir.prepare(s, m), m), m) as where:
    print(embedded.process_id(where), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=home, redis=RedisSettings(embedded_linger=LINGER))


@pytest.fixture
def where(settings: Settings) -> Iterator[Place]:
    place = embedded.place(statedir.prepare(settings, MACHINE), MACHINE)
    yield place
    until(lambda: not locked(place), what="the keeper to end")


def locked(place: Place) -> bool:
    return place.keeper.exists() and flock.is_held(place.keeper)


def user(settings: Settings) -> tuple[subprocess.Popen[str], int]:
    """Another process that uses the private Redis until its stdin ends; with the pid of Redis."""
    process = subprocess.Popen([sys.executable, "-c", USER, str(settings.home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, int(process.stdout.readline())


def end(process: subprocess.Popen[str]) -> None:
    process.communicate()


def test_it_starts_quickly_and_on_a_private_socket(settings: Settings, where: Place) -> None:
    began = time.monotonic()
    with embedded.running(settings, where, MACHINE):
        took = time.monotonic() - began
        assert where.socket.stat().st_mode & 0o777 == 0o700
        assert where.state.stat().st_mode & 0o777 == 0o700
    assert took < NOISE  # 0.07 s on a quiet machine; 0.3 s is the aim


def test_it_persists_and_evicts_nothing(settings: Settings, where: Place) -> None:
    with embedded.running(settings, where, MACHINE), redis.Redis.from_url(where.url) as connection:
        wanted = {"appendonly": "yes", "maxmemory-policy": "noeviction", "hash-max-ziplist-value": "512", "port": "0"}
        assert {name: connection.config_get(name)[name] for name in wanted} == wanted


def test_what_was_written_is_there_at_the_next_start(settings: Settings, where: Place) -> None:
    with embedded.running(settings, where, MACHINE), redis.Redis.from_url(where.url) as connection:
        connection.set("key", "value")
    until(lambda: not locked(where), what="the keeper to end")
    with embedded.running(settings, where, MACHINE), redis.Redis.from_url(where.url) as connection:
        assert connection.get("key") == b"value"


def test_a_second_user_finds_the_running_one(settings: Settings, where: Place) -> None:
    process, pid = user(settings)
    with embedded.running(settings, where, MACHINE):
        assert embedded.process_id(where) == pid
    end(process)


def test_users_that_start_at_once_share_one(settings: Settings, where: Place) -> None:
    users = [user(settings) for _ in range(4)]
    assert len({pid for _, pid in users}) == 1
    for process, _ in users:
        end(process)


def test_the_last_user_out_ends_it_even_by_kill_9(settings: Settings, where: Place) -> None:
    first, pid = user(settings)
    second, _ = user(settings)
    end(first)
    time.sleep(2 * LINGER.total_seconds())
    assert psutil.pid_exists(pid)
    second.kill()
    second.communicate()
    until(lambda: not psutil.pid_exists(pid), what="Redis to end")
    until(lambda: not locked(where), what="the keeper to end")
    assert not (settings.home / statedir.OWNER_FILE).exists()


def test_a_redis_that_dies_is_started_again(settings: Settings, where: Place) -> None:
    with embedded.running(settings, where, MACHINE):
        pid = embedded.process_id(where)
        os.kill(pid, signal.SIGKILL)
        until(lambda: embedded.process_id(where) not in {0, pid}, what="a new Redis")


def test_a_keeper_that_dies_is_replaced_by_the_next_user(settings: Settings, where: Place) -> None:
    with embedded.running(settings, where, MACHINE):
        pid = embedded.process_id(where)
        keeper = psutil.Process(pid).ppid()
        os.kill(keeper, signal.SIGKILL)
        until(lambda: not locked(where), what="the keeper to end")
        with embedded.running(settings, where, MACHINE):
            assert embedded.process_id(where) == pid
            assert locked(where)
    until(lambda: not psutil.pid_exists(pid), what="the new keeper to end Redis")


def test_a_home_that_was_removed_leaves_no_redis_behind_once_nobody_uses_it(settings: Settings, where: Place) -> None:
    process, pid = user(settings)
    shutil.rmtree(settings.home)
    time.sleep(2 * LINGER.total_seconds())
    assert is_alive(pid), "somebody uses it"
    end(process)
    until(lambda: not is_alive(pid), what="Redis to end")


def test_a_home_that_was_made_anew_is_not_disturbed_by_the_end_of_what_was_there_before(settings: Settings, where: Place) -> None:
    process, before = user(settings)
    shutil.rmtree(settings.home)
    statedir.prepare(settings, MACHINE)
    end(process)
    with embedded.running(settings, where, MACHINE), redis.Redis.from_url(where.url) as connection:
        until(lambda: not is_alive(before), what="the old Redis to end")
        until(lambda: embedded.is_ready(where), what="the new one")
        connection.set("key", "value")
    until(lambda: not locked(where), what="the keeper to end")
    with embedded.running(settings, where, MACHINE), redis.Redis.from_url(where.url) as connection:
        assert connection.get("key") == b"value"


def test_a_newcomer_at_the_moment_of_the_end_gets_a_redis(settings: Settings, where: Place) -> None:
    for _ in range(3):
        with embedded.running(settings, where, MACHINE), redis.Redis.from_url(where.url) as connection:
            connection.ping()
        time.sleep(LINGER.total_seconds())


def test_a_home_in_use_elsewhere_is_refused(settings: Settings, where: Place) -> None:
    other = statedir.Machine(host="alpha", uid=MACHINE.uid, mountinfo="")
    statedir.claim_home(settings, other)
    with pytest.raises(Conflict, match="in use on alpha"), embedded.running(settings, where, MACHINE):
        pass


def test_a_redis_that_cannot_start_says_why(settings: Settings, where: Place) -> None:
    where.data.mkdir()
    for name in ("appendonlydir", "appendonly.aof"):  # Redis 7 wants the first, Redis 6 the second
        (where.data / name).write_text("this is not what Redis wants here")
    with pytest.raises(BrokerError, match="does not start"), embedded.running(settings, where, MACHINE):
        pass


def test_an_older_redis_does_not_start_empty_on_the_data_of_a_newer_one(
    settings: Settings, where: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    (where.data / "appendonlydir").mkdir(parents=True)
    (tmp_path / "redis-server").write_text("#!/bin/sh\necho 'Redis server v=6.2.14 sha'\n")
    (tmp_path / "redis-server").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"written by Redis 7 or newer, but .* is version 6\.2"), embedded.running(settings, where, MACHINE):
        pass
