"""Logging in and out, and what nobody sees who has not."""

from __future__ import annotations

import base64

import pytest
from starlette.testclient import TestClient

from rqflow.actions.people import setup, tokens, users
from rqflow.security.passwords import Passwords
from rqflow.security.roles import Role
from rqflow.web.throttle import OF_NAME
from tests.integration.web.site import BASE, Site
from tests.unit.builders import a_version

PASSWORD = "correct horse"


@pytest.fixture
def ann(site: Site) -> str:
    users.add(site.engine, "ann", role=Role.OPERATOR, by="test", password=PASSWORD, passwords=Passwords(memory=64, passes=1))
    return "ann"


def test_a_person_logs_in_sees_the_page_they_wanted_and_logs_out(site: Site, ann: str) -> None:
    site.hub.start(a_version(dag_id="daily"))
    browser = site.browser()
    answer = browser.get("/dags/daily/trigger?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/dags/daily/trigger%3Fx%3D1")
    answer = browser.post("/login", data={"username": ann, "password": PASSWORD, "next": "/dags/daily/trigger?x=1"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/dags/daily/trigger?x=1")
    cookie = answer.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "samesite=lax", "path=/"))
    assert "secure" not in cookie
    assert "Start the run" in browser.get("/dags/daily/trigger").text
    assert browser.post("/logout").headers["location"] == "/login"
    assert browser.get("/dags/daily/trigger").status_code == 303


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil", "javascript:alert(1)", "/a\r\nX: y"])
def test_after_the_login_nobody_is_led_elsewhere(site: Site, ann: str, target: str) -> None:
    assert site.browser().post("/login", data={"username": ann, "password": PASSWORD, "next": target}).headers["location"] == "/"


def test_a_wrong_password_and_an_unknown_name_are_told_alike_and_not_for_ever(site: Site, ann: str) -> None:
    browser = site.browser()
    wrong = browser.post("/login", data={"username": ann, "password": "wrong"})
    unknown = browser.post("/login", data={"username": "bob", "password": "wrong"})
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.text.replace("ann", "bob") == unknown.text
    for _ in range(OF_NAME):
        last = browser.post("/login", data={"username": ann, "password": PASSWORD if _ == OF_NAME - 1 else "wrong"})
    assert last.status_code == 429
    assert "too many tries" in last.text


def test_a_one_time_link_makes_the_first_admin_and_is_good_once(site: Site) -> None:
    link = setup.make(site.engine, by="root")
    browser = site.browser()
    assert "rqflow user setup-link" in browser.get("/login").text
    assert "Welcome to rqflow" in browser.get(f"/setup/{link.secret}").text
    short = browser.post(f"/setup/{link.secret}", data={"username": "ann", "password": "short", "again": "short"})
    assert (short.status_code, "8" in short.text) == (422, True)
    differs = browser.post(f"/setup/{link.secret}", data={"username": "ann", "password": PASSWORD, "again": "other horse"})
    assert "The two passwords differ" in differs.text
    answer = browser.post(f"/setup/{link.secret}", data={"username": "ann", "password": PASSWORD, "again": PASSWORD})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert users.get(site.engine, "ann").role == Role.ADMIN
    again = site.browser().get(f"/setup/{link.secret}")
    assert (again.status_code, "used" in again.text) == (409, True)
    assert site.browser().get("/setup/nonsense").status_code == 404


def test_a_session_that_ended_in_the_middle_of_a_form_leads_back_to_it(site: Site) -> None:
    site.hub.start(a_version(dag_id="daily"))
    answer = site.browser().post("/dags/daily/trigger", headers={"Referer": "http://hub:8080/dags/daily/trigger"})
    assert answer.headers["location"] == "/login?next=/dags/daily/trigger&expired=1"
    assert "Your session has ended" in site.browser().get(answer.headers["location"]).text


@pytest.mark.parametrize("value", [b"[" * 2000, b"5", b"{}", b'["ok"]', b'[["a"], {"b": 1}]', b'["ok", "\\ud800"]', b"\xff"])
def test_a_message_of_what_was_done_that_is_not_ours_harms_no_page(site: Site, value: bytes) -> None:
    browser = site.browser()
    browser.cookies.set("rqflow_flash", base64.urlsafe_b64encode(value).decode())
    assert browser.get("/login").status_code == 200


def test_a_part_of_a_page_that_nobody_may_have_sends_the_whole_page_to_the_login(site: Site) -> None:
    answer = site.browser().get("/dags/daily/trigger", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (401, "/login?next=/dags/daily/trigger")


def test_metrics_are_given_to_who_is_near_or_has_a_token_and_to_nobody_else(site: Site) -> None:
    near, far = (TestClient(site.app, base_url=BASE, client=(address, 1), follow_redirects=False) for address in ("127.0.0.1", "192.0.2.1"))
    assert "rqflow_up" in near.get("/metrics").text
    assert (far.get("/metrics").status_code, far.get("/healthz").status_code) == (401, 200)
    assert {name: set(client.get("/readyz").json()["components"]["db"]) for name, client in (("near", near), ("far", far))} == {
        "near": {"is_healthy", "detail"}, "far": {"is_healthy"}}
    assert near.get("/metrics", headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 401
    site.browser("ann")
    token = tokens.make(site.engine, "ann", name="prometheus", by="ann").text
    assert "rqflow_up" in far.get("/metrics", headers={"Authorization": f"Bearer {token}"}).text
