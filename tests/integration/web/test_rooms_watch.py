"""What those look at who look after a hub: health, SLA misses, messages to people."""

from __future__ import annotations

import html
import json
import re
from datetime import timedelta

import pytest
from sqlalchemy import insert, select

from rqflow.actions.people import tokens
from rqflow.cli.main import main
from rqflow.security.roles import Role
from rqflow.store.engine import Connection, run_in_transaction
from rqflow.store.tables import notice_message
from tests.integration.web import rooms
from tests.integration.web.happenings import a_refused_message, misses
from tests.integration.web.serving import served
from tests.integration.web.site import Site
from tests.unit.builders import a_version


def many_messages(site: Site, number: int) -> None:
    """As many messages as that, of which several were made in the same moment."""
    first = a_refused_message(site, site.hub.start(a_version(dag_id="nightly"), run_id="first"))

    def write(connection: Connection) -> None:
        row = dict(connection.execute(select(notice_message)).mappings().one())
        connection.execute(insert(notice_message), [
            {**row, "message_id": f"{one:032x}", "created_at": row["created_at"] - timedelta(seconds=one // 7)} for one in range(number - 1)])
        assert first == row["message_id"]

    run_in_transaction(site.engine, write)


def test_all_messages_are_found_page_by_page_on_the_page_over_the_api_and_by_the_command(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    many_messages(site, 120)
    browser = site.browser("ann")
    seen: list[str] = []
    place: str | None = "/notices?dag_id=nightly"
    while place:
        text = browser.get(place).text
        seen += re.findall(r'class="cut" href="/notices/(\w+)"', text)
        older = re.search(r'href="([^"]+)" rel="next"', text)
        place = html.unescape(older[1]) if older else None
    assert (len(seen), len(set(seen))) == (120, 120)
    first = browser.get("/api/v1/notices?limit=100").json()
    rest = browser.get("/api/v1/notices", params={"limit": 100, "after": first["next"]}).json()
    assert [one["message_id"] for one in (*first["items"], *rest["items"])] == seen
    assert rest["next"] is None
    assert browser.get("/api/v1/notices?after=none").status_code == 404
    monkeypatch.setattr("rqflow.cli.hub.MOST", 50)
    monkeypatch.setenv("RQFLOW_TOKEN", tokens.make(site.engine, "ann", name="laptop", by="ann").text)
    with served(site.app) as url:
        for words, number in ((["--all"], 120), (["-L", "70"], 70)):
            assert main(["--server", url, "notice", "list", "-o", "json", *words]) == 0
            assert [one["message_id"] for one in json.loads(capsys.readouterr().out)] == seen[:number]


def test_misses_are_listed_filtered_and_paged(site: Site, redis_url: str) -> None:
    run = site.hub.start(a_version({f"t{number}": [] for number in range(60)}, dag_id="nightly"), run_id="first")
    misses(site, run, *(f"t{number}" for number in range(60)))
    browser = site.browser("vera", Role.VIEWER)
    first = browser.get("/slas").text
    assert first.count(f"/runs/{run.run_key}/tasks/") == 50
    assert "offset=50" in first
    assert browser.get("/slas?offset=50").text.count(f"/runs/{run.run_key}/tasks/") == 10
    assert browser.get(f"/slas?run={run.run_key}&dag_id=nightly&since=2020-01-01").text.count("/tasks/") == 50
    assert "No such miss" in browser.get("/slas?since=2999-01-01").text
    assert browser.get("/slas?dag_id=none").status_code == browser.get("/slas?run=none").status_code == 404
    assert browser.get("/slas?since=soon").status_code == 422
    assert browser.get("/slas?offset=-1").status_code == 200
    page = browser.get("/api/v1/slas?limit=40").json()
    assert (len(page["items"]), page["next"]) == (40, "40")
    filtered = Site(site.hub.db, redis_url, site.engine, site.settings.home, filter_by_owner=True)
    assert "nightly" not in filtered.browser("vera", Role.VIEWER).get("/slas").text
    filtered.close()


def test_a_message_that_was_refused_is_shown_and_sent_again(site: Site) -> None:
    run = site.hub.start(a_version(dag_id="nightly"), run_id="first")
    message = a_refused_message(site, run)
    browser = site.browser("ann")
    text = browser.get("/notices").text
    assert "&lt;ada&gt;@x.test" in text
    assert "550 &lt;b&gt;nobody" in text
    one = browser.get(f"/notices/{message}")
    assert one.status_code == 200
    assert "nightly" in one.text
    assert "no SMTP is configured" in text
    assert "No such message" in browser.get("/notices?state=sent").text
    assert browser.get("/notices?state=odd").status_code == 422
    browser.post("/notices/retry", data={"message": message})
    assert "1 message will be tried again" in browser.get("/notices").text
    assert rooms.deeds(site, "notices_retried") == ["ann"]
    assert browser.post("/notices/retry", data={"message": message}).status_code == 409
    assert browser.post("/notices/retry").status_code == 422
    assert browser.post("/notices/retry", data={"every": "1"}).status_code == 303
    assert browser.get("/notices/none").status_code == 404
    rooms.refused(site, ["GET /notices", f"GET /notices/{message}", "POST /notices/retry"])


def test_health_shows_parts_disks_and_what_the_doctor_finds(site: Site) -> None:
    rooms.a_worker(site.hub.db)
    browser = site.browser("ann")
    text = browser.get("/health").text
    for said in ("1 lives, with 4 slots", "none lives", "revision", "home", "takes logs", "/metrics"):
        assert said in text, said
    assert "What the doctor finds" not in text
    examined = browser.get("/health?doctor=1").text
    assert "What the doctor finds" in examined
    assert "nothing starts by schedule" in examined
    seen = browser.get("/api/v1/health/overview").json()
    assert seen["flow"]["unrecorded"] == 0
    assert {one["place"] for one in seen["disks"]} >= {"home", "logs", "database"}
    assert {one["component"] for one in browser.get("/api/v1/health").json()["items"]} >= {"redis", "db", "scheduler", "worker"}
    assert site.browser("vera", Role.VIEWER).get("/api/v1/version").json()["protocol"] == seen["release"]["protocol"]
    rooms.refused(site, ["GET /health", "GET /api/v1/health/overview", "GET /api/v1/health/doctor"])
