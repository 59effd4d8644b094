"""What pages and the API say while Redis, or the database, is away: the history while it is there, never a blank page, and all again by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from rqflow.deploy.lasting import Lasting
from rqflow.exceptions import BrokerError, UsageError
from rqflow.settings import Database, RedisSettings
from rqflow.states import TaskState
from tests.integration.broker import playing
from tests.integration.web.site import BASE, Site
from tests.services import OwnRedis
from tests.unit.builders import a_version
from tests.waiting import until


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnRedis]:
    """A Redis that is not started."""
    folder = tmp_path / "own"
    folder.mkdir()
    server = OwnRedis(folder)
    yield server
    if server.process is not None and server.process.poll() is None:
        server.kill()


@pytest.fixture
def without_redis(site: Site, own: OwnRedis) -> Site:
    """The application with one finished run in its history, whose Redis is away."""
    run = site.hub.start(a_version({"a": []}, dag_id="daily"), run_id="old")
    held, = playing.claim(site.hub.broker)
    playing.tell(site.hub.broker, playing.end(held, TaskState.SUCCESS))
    site.hub.record()
    assert site.hub.of(run).is_finished
    parts = site.app.state.parts
    parts.lasting = Lasting(replace(site.settings, redis=RedisSettings(url=own.url)), client_name="rqflow-web")
    return site


def test_while_redis_is_away_the_history_is_read_and_deeds_say_why_not(without_redis: Site, own: OwnRedis) -> None:
    browser = without_redis.browser("ann")
    shown = browser.get("/api/v1/runs/old")
    assert (shown.status_code, shown.json()["state"], shown.json()["tasks"][0]["state"]) == (200, "success", "success")
    assert [one["run_id"] for one in browser.get("/api/v1/runs").json()["items"]] == ["old"]
    assert browser.get("/api/v1/dags").json()["items"][0]["last_state"] == "success"
    refused = browser.post("/api/v1/runs", json={"dag_id": "daily"})
    assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
    assert "Redis does not answer" in refused.json()["detail"]
    assert (refused.headers["retry-after"], refused.json()["exit_code"]) == ("5", 7)
    page = browser.post("/dags/daily/trigger", data={})
    assert (page.status_code, "Redis does not answer" in page.text, "Nothing is lost" in page.text) == (503, True, True)


def test_lists_and_pages_of_dags_are_read_from_the_history_while_redis_is_away(without_redis: Site, own: OwnRedis) -> None:
    browser = without_redis.browser("ann")
    for path, shown in (("/", "does not answer"), ("/dags", "/dags/daily"), ("/dags/daily", 'class="sq st-success"'), ("/dags/daily/graph", "success"),
                        ("/dags/daily/runs", ">old<")):
        answer = browser.get(path)
        assert answer.status_code == 200, path
        assert "Redis does not answer" in answer.text, path
        assert shown in answer.text, path


def test_when_redis_is_back_all_goes_on_by_itself(without_redis: Site, own: OwnRedis) -> None:
    browser = without_redis.browser("ann")
    assert browser.get("/").status_code == 200
    assert "Redis does not answer" in browser.get("/").text
    own.start()
    assert "Redis does not answer" not in browser.get("/").text
    own.kill()
    assert "Redis does not answer" in browser.get("/").text


def test_a_broker_is_lent_again_after_a_refusal_and_closed_after_a_fault(site: Site) -> None:
    lasting = site.app.state.parts.lasting
    with lasting.broker() as lent:
        number = lent.connection.client_id()
    with pytest.raises(UsageError), lasting.broker() as first:
        raise UsageError("no")
    with pytest.raises(ZeroDivisionError), lasting.broker() as second:
        raise ZeroDivisionError
    assert first is lent
    assert second is lent
    with lasting.broker() as third:
        assert third is not lent
    until(lambda: str(number) not in {one["id"] for one in site.hub.db.client_list()}, what="Redis to notice that the other is closed")


def test_a_broker_that_failed_is_not_lent_again(without_redis: Site, own: OwnRedis) -> None:
    own.start()
    lasting = without_redis.app.state.parts.lasting
    with lasting.broker() as first:
        pass
    with lasting.broker() as second:
        assert second is first
    own.kill()
    with pytest.raises(BrokerError, match="does not answer"), lasting.broker():
        pass
    own.start()
    with lasting.broker() as third:
        assert third is not first


def test_while_the_database_is_away_each_page_says_so_and_heals_by_itself(site: Site, tmp_path: Path) -> None:
    browser = site.browser("ann")
    parts = site.app.state.parts
    parts.lasting = Lasting(replace(site.settings, database=Database(url="mysql://root@127.0.0.1:1/none")), client_name="rqflow-web")
    page = browser.get("/")
    assert (page.status_code, page.headers["retry-after"]) == (503, "5")
    assert "Nothing is lost" in page.text
    answer = browser.get("/api/v1/dags")
    assert (answer.status_code, answer.json()["title"], answer.json()["exit_code"]) == (503, "Not reached", 7)
    assert browser.get("/login").status_code == 503
    near = TestClient(site.app, base_url=BASE, client=("127.0.0.1", 1), follow_redirects=False)
    assert ["root@127.0.0.1" in client.get("/login").text for client in (near, browser)] == [True, False], "who is far is told no hosts and accounts"
    parts.lasting = Lasting(site.settings, client_name="rqflow-web")
    assert browser.get("/").status_code == 200
