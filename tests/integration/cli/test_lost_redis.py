"""What a person sees when Redis goes away while a command runs, or the history is behind it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import redis

from rqflow import clock
from rqflow.actions import cancel, follow, query, submit, trigger
from rqflow.broker import faults
from rqflow.cli.following import Follower
from rqflow.cli.observing import Here
from rqflow.cli.output import Printer
from rqflow.deploy.live import open_live
from rqflow.deploy.services import open_services
from rqflow.exceptions import BrokerError, Conflict, TimedOut
from rqflow.settings import RedisSettings, Settings
from rqflow.states import RunState
from rqflow.store import dags, runs
from rqflow.store.engine import Connection, run_in_transaction
from tests.epoch import open_epoch
from tests.integration.broker import playing
from tests.profile import PATIENCE
from tests.proxy import Proxy
from tests.services import redis_server
from tests.unit.builders import a_version
from tests.waiting import until


@pytest.fixture
def settings(home: Path, tmp_path: Path) -> Iterator[Settings]:
    folder = tmp_path / "redis"
    folder.mkdir()
    with redis_server(folder) as url:
        with redis.Redis.from_url(url) as connection:
            open_epoch(connection)
        yield Settings(home=home, redis=RedisSettings(url=url))


def lose_redis(settings: Settings) -> None:
    with open_live(settings) as live:
        live.connection.shutdown(nosave=True)
        live.broker.live_runs()


def test_a_command_says_that_redis_no_longer_answers(settings: Settings) -> None:
    with pytest.raises(BrokerError, match="no longer answers"):
        lose_redis(settings)


def test_a_start_broken_off_after_the_database_is_gone_on_with_and_a_second_one_is_a_conflict(settings: Settings) -> None:
    version = a_version()
    run = trigger.by_hand(version, trigger.Given(run_id="r"), clock.utcnow())

    def write(connection: Connection) -> bool:
        dags.save_version(connection, version)
        return runs.create(connection, run)

    with open_services(settings) as services:
        run_in_transaction(services.engine, write)
        assert services.broker.live_runs() == []
        assert trigger.start(services.broker, services.engine, run, version, by="me")
        assert services.broker.live_runs() == [run.key]
        with pytest.raises(Conflict, match="has a run r already"):
            trigger.start(services.broker, services.engine, run, version, by="me")


def test_an_once_run_is_told_as_it_is_before_the_history_has_its_end(settings: Settings) -> None:
    version = a_version(schedule="@once")
    run = trigger.once(version, clock.utcnow())
    with open_services(settings) as services:
        registered, = submit.register(services.broker, services.engine, [version], starts={"d"})
        trigger.start(services.broker, services.engine, run, version, by="me")
        assert "@once has run (running)" in submit.what_next(services.broker, services.engine, registered, clock.UTC)
        playing.play(services.broker)
        assert "@once has run (success, 20" in submit.what_next(services.broker, services.engine, registered, clock.UTC)


def test_who_follows_is_told_once_that_redis_cannot_write(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    version = a_version()
    run = trigger.by_hand(version, trigger.Given(), clock.utcnow())
    with redis_server(tmp_path, "--dir", str(gone)) as url, open_services(Settings(home=home, redis=RedisSettings(url=url))) as services:
        trigger.start(services.broker, services.engine, run, version, by="me")
        gone.rmdir()
        refuse_writes(services.connection)
        with pytest.raises(TimedOut):
            Follower(observer=Here(services), printer=Printer(), started=[], timeout=timedelta(seconds=3)).follow([(run, version)])
        services.connection.config_set("save", "")  # else it would not end before it has saved
    assert capsys.readouterr().err.count("the run goes on when Redis takes writes again, and it says: MISCONF") == 1


def test_who_follows_goes_on_when_redis_does_not_say_who_serves_a_queue(
    settings: Settings, home: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    version = a_version()
    run = trigger.by_hand(version, trigger.Given(), clock.utcnow())
    with Proxy(settings.redis.url.removeprefix("unix://")) as tunnel:
        far = Settings(home=home, redis=RedisSettings(url=tunnel.redis_url))
        with open_services(far) as services, open_services(settings) as near:
            trigger.start(services.broker, services.engine, run, version, by="me")
            shown = Here(services).run(run.run_id)
            tunnel.drop_request(b"SMEMBERS", times=faults.ATTEMPTS + 1)

            def play() -> None:
                until(lambda: tunnel.dropped > faults.ATTEMPTS, what="questions that get lost")
                playing.play(near.broker)

            player = threading.Thread(target=play)
            player.start()
            follower = Follower(observer=Here(services), printer=Printer(), started=[], timeout=timedelta(seconds=PATIENCE))
            assert follower.watch(shown, version) == 0
            player.join()
    assert f"run {run.run_id} of {run.dag_id}: success" in capsys.readouterr().err


def refuse_writes(connection: redis.Redis) -> None:
    """Let a Redis without a folder refuse writes, as it does when its disk is full."""
    connection.config_set("save", "3600 1")
    connection.bgsave()
    until(lambda: connection.info("persistence")["rdb_last_bgsave_status"] == "err", what="the save to fail")


def test_waiting_for_a_run_goes_on_when_redis_is_back(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="rqflow")
    socket = Path(settings.redis.url.removeprefix("unix://"))
    version = a_version()
    run = trigger.by_hand(version, trigger.Given(), clock.utcnow())
    ended: dict[str, RunState] = {}
    with open_services(settings) as services, redis.Redis.from_url(settings.redis.url) as other:
        trigger.start(services.broker, services.engine, run, version, by="me")
        waiting = threading.Thread(target=lambda: ended.update(follow.wait(services.broker, services.engine, [run.key])))
        waiting.start()
        other.ping()
        away = socket.rename(socket.with_suffix(".away"))
        other.client_kill_filter(_type="normal", skipme=True)
        until(lambda: "Redis does not answer" in caplog.text, what="a look in vain")
        assert "nothing is lost" in caplog.text
        away.rename(socket)
        cancel.cancel_run(services.broker, services.engine, query.find_run(services.engine, run.run_id), by="me")
        waiting.join(timeout=PATIENCE)
    assert ended == {run.key: RunState.CANCELLED}
