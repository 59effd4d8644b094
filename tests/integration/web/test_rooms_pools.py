"""Pools: seen, made, changed, deleted, brought and taken along."""

from __future__ import annotations

from dataclasses import replace

from rqflow.security.roles import Role
from tests.integration.broker import playing
from tests.integration.web import rooms
from tests.integration.web.site import Site
from tests.unit.builders import a_version

JSON = {"Content-Type": "application/json"}


def test_a_pool_is_made_changed_and_deleted(site: Site) -> None:
    browser = site.browser("ann")
    assert browser.post("/pools", data={"pool": "gpu <b>", "slots": "2", "description": "<i>cards"}).headers["location"] == "/pools"
    text = browser.get("/pools").text
    assert "made: 2 slots" in text
    assert "gpu &lt;b&gt;" in text
    assert "&lt;i&gt;cards" in text
    assert 'value="2"' in browser.get("/pools/gpu%20%3Cb%3E/edit").text
    browser.post("/pools/gpu%20%3Cb%3E/edit", data={"slots": "3"})
    assert browser.get("/api/v1/pools/gpu%20%3Cb%3E").json()["slots"] == 3
    assert "Delete this pool" in browser.get("/pools/gpu%20%3Cb%3E/delete").text
    browser.post("/pools/gpu%20%3Cb%3E/delete")
    assert browser.get("/pools/gpu%20%3Cb%3E").status_code == 404
    assert rooms.deeds(site, "pool_set") == ["ann", "ann"]
    assert rooms.deeds(site, "pool_deleted") == ["ann"]
    assert browser.post("/pools/default_pool/delete").status_code == 422


def test_what_no_pool_can_be_is_said_and_what_was_filled_in_stays(site: Site) -> None:
    browser = site.browser("ann")
    for data in ({"pool": "", "slots": "1"}, {"pool": "x", "slots": "-1"}, {"pool": "x", "slots": "many"}, {"pool": "x", "slots": "99999999999"},
                 {"pool": "a\0b", "slots": "1"}, {"pool": "x" * 251, "slots": "1"}, {}):
        answer = browser.post("/pools", data={"description": "<kept>", **data})
        assert answer.status_code == 422, data
        assert "&lt;kept&gt;" in answer.text
    assert browser.get("/pools/a%00b").status_code == 404
    assert browser.post("/pools/none/edit", data={"slots": "1"}).status_code == 404
    assert browser.put("/api/v1/pools/x", content='{"slots": 1, "description": "a\\u0000b"}', headers=JSON).status_code == 422
    odd = '{"pools": {"y\\ud800": {"slots": 1, "description": "a\\ud800\\u0000"}}}'
    assert browser.post("/api/v1/pools/import", content=odd, headers=JSON).status_code == 422


def test_who_has_the_slots_and_who_waits_is_shown(site: Site) -> None:
    browser = site.browser("ann")
    browser.put("/api/v1/pools/gpu", json={"slots": 1})
    version = a_version({"first": [], "second": []}, dag_id="daily")
    run = site.hub.start(replace(version, tasks=tuple(replace(task, pool="gpu") for task in version.tasks)), run_id="one")
    playing.claim(site.hub.broker)
    text = browser.get("/pools/gpu").text
    assert text.count(f"/runs/{run.run_key}/tasks/") == 2
    tasks = browser.get("/api/v1/pools/gpu/tasks").json()["items"]
    assert [one["state"] for one in tasks] == ["running", "parked"]
    assert "pool" in tasks[1]["reason"]
    assert 'aria-label="Slots of gpu: 1 running, 1 parked"' in browser.get("/pools").text


def test_pools_are_taken_along_and_brought_elsewhere(site: Site) -> None:
    browser = site.browser("ann")
    browser.put("/api/v1/pools/gpu", json={"slots": 1, "description": "cards"})
    file = browser.get("/pool-export")
    assert "attachment" in file.headers["content-disposition"]
    assert file.json() == {"gpu": {"slots": 1, "description": "cards"}}
    browser.delete("/api/v1/pools/gpu")
    assert browser.post("/pool-import", files={"file": ("pools.json", file.content)}).status_code == 303
    assert browser.post("/pool-import", data={"text": '{"cpu": 4}'}).status_code == 303
    assert {one["name"] for one in browser.get("/api/v1/pools").json()["items"]} == {"cpu", "default_pool", "gpu"}
    for text in ("", "{", "[]", "NaN", '{"x": {"slots": "many"}}', '{"x": true}', '{"": 1}', "[" * 100_000):
        answer = browser.post("/pool-import", data={"text": text})
        assert (answer.status_code, 'action="/pool-import"' in answer.text, "alert" in answer.text) == (422, True, True), text[:20]
    assert browser.get("/api/v1/pools-export").json() == {"cpu": {"slots": 4, "description": ""}, "gpu": {"slots": 1, "description": "cards"}}
    assert browser.post("/pool-import", files={"file": ("x.json", b"\xff\xfe\x00")}).status_code == 422


def test_who_is_no_admin_changes_no_pool(site: Site) -> None:
    rooms.refused(site, ["GET /pool-new", "POST /pools", "GET /pools/default_pool/edit", "POST /pools/default_pool/edit",
                         "GET /pools/default_pool/delete", "POST /pools/default_pool/delete", "GET /pool-import"])
    browser = site.browser("vera", Role.VIEWER)
    assert browser.put("/api/v1/pools/x", json={"slots": 1}).status_code == 403
    assert browser.post("/pool-import", data={"text": '{"x": 1}'}).status_code == 403
    assert "New pool" not in browser.get("/pools").text
