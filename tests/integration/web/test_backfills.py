"""Backfills: planned, started, steered, by the page and by the API."""

from __future__ import annotations

import re

import pytest

from rqflow.actions import submit
from rqflow.dag import patterns
from rqflow.security.roles import Role
from tests.integration.web.site import BASE, Site
from tests.unit.builders import a_version

DATES = {"first": "2024-03-01", "last": "2024-03-05"}


def daily(site: Site) -> None:
    version = a_version(["a"], dag_id="daily", schedule="@daily", start_date="2024-01-01T00:00:00+00:00", timezone="Europe/Zurich")
    submit.register(site.hub.broker, site.engine, [version])


def test_the_form_shows_what_becomes_of_each_date_before_anything_runs(site: Site) -> None:
    daily(site)
    browser = site.browser("ann")
    assert "Dates first, then the start" in browser.get("/dags/daily/backfill").text
    text = browser.get("/dags/daily/backfill", params={**DATES, "max_active": "2", "conf": '{"x": "<b>"}'}).text
    assert "<b>5 dates</b>, 2 at a time" in text
    assert re.findall(r'<time class="moment" datetime="(2024-0[23]-\d\dT\d\d)', text)[:2] == ["2024-02-29T23", "2024-03-01T23"], "by the DAG's clock"
    assert "&#34;&lt;b&gt;&#34;" in text
    assert "No backfills" in browser.get("/backfills").text


def test_what_is_wrong_is_said_and_what_was_filled_in_stays(site: Site) -> None:
    daily(site)
    site.hub.start(a_version(["a"], dag_id="by_hand"))
    browser = site.browser("ann")
    for changes, said in (({"first": "soon"}, "no date"), ({"last": ""}, "missing"), ({"max_active": "many"}, "no number"), ({"max_active": "0"}, "max_active"),
                          ({"conf": "{"}, "no JSON"), ({"conf": "@/etc/passwd"}, "JSON object"), ({"rerun": "odd"}, "none of"), ({"task_regex": "("}, "regular"),
                          ({"task_regex": "nix"}, "no task"), ({"pool": "nix"}, "no pool"), ({"last": "2024-02-01"}, "lies before")):
        answer = browser.get("/dags/daily/backfill", params={**DATES, **changes})
        assert 400 <= answer.status_code < 500, changes
        assert said.lower() in answer.text.lower(), changes
        assert 'name="first"' in answer.text, changes
    assert "gives no dates to run" in browser.get("/dags/by_hand/backfill", params=DATES).text


def test_a_regular_expression_that_takes_for_ever_is_refused_and_the_page_goes_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 0.2)
    run = site.hub.start(a_version(["a" * 40 + "b"], dag_id="daily", schedule="@daily", start_date="2024-01-01T00:00:00+00:00"))
    browser = site.browser("ann")
    for answer in (browser.get("/dags/daily/backfill", params={**DATES, "task_regex": "(a|a)+$"}),
                   browser.post(f"/api/v1/runs/{run.run_key}/clear", json={"task": "*", "regex": "(a|a)+$"}, headers={"Origin": BASE})):
        assert answer.status_code == 422, answer.text
        assert "takes too long to look for" in answer.text


def test_a_backfill_is_started_paused_resumed_and_cancelled(site: Site) -> None:
    daily(site)
    browser = site.browser("ann")
    answer = browser.post("/dags/daily/backfill", data=DATES)
    assert (answer.status_code, answer.headers["location"]) == (303, "/backfills/1"), answer.text
    again = browser.post("/dags/daily/backfill", data=DATES)
    assert again.status_code == 409
    assert "has dates between these" in again.text
    for deed, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelling")):
        assert browser.post(f"/backfills/1/{deed}").status_code == 303
        assert f'class="state st-{state}"' in browser.get("/backfills/1").text
        assert f'class="state st-{state}"' in browser.get("/backfills").text
    assert "5 dates that it has not come to are left out" in browser.get("/backfills/1/cancel").text
    assert browser.post("/backfills/1/burn").status_code == 404
    assert "No backfill fits" in browser.get("/backfills?state=failed").text
    assert "Did you mean daily?" in browser.get("/backfills?dag=dail").text


def test_the_api_does_the_same(site: Site) -> None:
    daily(site)
    browser = site.browser("ann")
    plan = browser.post("/api/v1/dags/daily/backfills/plan", json={**DATES, "limit": 2}).json()
    assert (plan["total"], [one["deed"] for one in plan["dates"]], plan["tasks"]) == (5, ["make", "make"], ["a"])
    assert browser.post("/api/v1/dags/daily/backfills", json=DATES).json()["id"] == 1
    browser.post("/api/v1/dags/daily/backfills", json={"first": "2024-04-01", "last": "2024-04-02"})
    assert [one["id"] for one in browser.get("/api/v1/backfills").json()["items"]] == [2, 1]
    page = browser.get("/api/v1/backfills?limit=1").json()
    assert ([one["id"] for one in page["items"]], page["next"]) == ([2], 2)
    assert [one["id"] for one in browser.get("/api/v1/backfills?after=2&dag_id=daily&state=queued").json()["items"]] == [1]
    assert browser.post("/api/v1/backfills/1/pause").json()["state"] == "paused"
    assert browser.get("/api/v1/backfills/1").json()["total"] == 5
    for number, status in (("0", 404), ("9", 404), ("99999999999999999999", 422)):
        assert browser.get(f"/api/v1/backfills/{number}").status_code == status, number


def test_who_may_not_change_the_dag_starts_and_steers_none(site: Site) -> None:
    daily(site)
    site.browser("ann").post("/dags/daily/backfill", data=DATES)
    for name, role in (("vera", Role.VIEWER), ("otto", Role.OPERATOR)):
        browser = site.browser(name, role)
        assert browser.get("/dags/daily/backfill").status_code == 403
        assert browser.post("/dags/daily/backfill", data={"first": "2024-05-01", "last": "2024-05-01"}).status_code == 403
        assert browser.post("/backfills/1/cancel").status_code == 403
        assert "/backfills/1/pause" not in browser.get("/backfills/1").text
