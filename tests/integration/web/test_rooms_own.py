"""What is one's own: account, password, tokens, sessions."""

from __future__ import annotations

import re

from rqflow.actions.people import users
from rqflow.security.roles import Role
from tests.integration.web import rooms
from tests.integration.web.site import Site

OLD, NEW = "correct horse battery", "another horse battery"


def test_one_changes_ones_name_and_sees_what_one_may(site: Site) -> None:
    browser = site.browser("vera", Role.VIEWER)
    assert "sees DAGs, runs and logs" in browser.get("/account").text
    browser.post("/account", data={"full_name": "Vera <b>", "email": "v@example.org"})
    assert "Vera &lt;b&gt;" in browser.get("/account").text
    assert browser.post("/account", data={"email": "no"}).status_code == 422
    assert browser.patch("/api/v1/account", json={"email": ""}).json()["email"] == ""
    assert browser.get("/api/v1/account").json()["role"] == "viewer"


def test_one_changes_ones_password_and_other_sessions_end(site: Site) -> None:
    users.add(site.engine, "vera", role=Role.VIEWER, by="test", password=OLD)
    browser, other = site.browser("vera", Role.VIEWER), site.browser("vera", Role.VIEWER)
    for data, said in (({"current": "wrong", "password": NEW, "again": NEW}, "present password is wrong"),
                       ({"current": OLD, "password": NEW, "again": "x"}, "differ"), ({"current": OLD, "password": "x", "again": "x"}, "")):
        answer = browser.post("/account/password", data=data)
        assert answer.status_code == 422
        assert said in answer.text
        assert OLD not in answer.text
    browser.post("/account/password", data={"current": OLD, "password": NEW, "again": NEW})
    assert "1 other session ended" in browser.get("/account").text
    assert other.get("/account").status_code == 303
    assert site.browser().post("/login", data={"username": "vera", "password": NEW}).headers["location"] == "/"
    assert rooms.deeds(site, "password_changed") == ["vera"]


def test_nobody_guesses_a_password_by_changing_it_neither_on_the_page_nor_over_the_api(site: Site) -> None:
    users.add(site.engine, "vera", role=Role.VIEWER, by="test", password=OLD)
    browser = site.browser("vera", Role.VIEWER)
    for _ in range(2):
        assert browser.post("/account/password", data={"current": "guess", "password": NEW, "again": NEW}).status_code == 422
    for _ in range(users.TRIES - 2):
        assert browser.put("/api/v1/account/password", json={"current": "guess", "password": NEW}).status_code == 422
    for current in ("guess", OLD):
        assert browser.put("/api/v1/account/password", json={"current": current, "password": NEW}).status_code == 429
        page = browser.post("/account/password", data={"current": current, "password": NEW, "again": NEW})
        assert (page.status_code, "too many tries" in page.text) == (429, True)


def test_a_token_is_shown_once_listed_and_revoked(site: Site) -> None:
    browser = site.browser("olga", Role.OPERATOR)
    assert "admin: may do everything" not in browser.get("/token-new").text
    shown = browser.post("/tokens", data={"name": "nightly <b>", "role": "viewer", "days": "7"})
    assert shown.status_code == 200
    found = re.search(r"rqf_[\w-]+", shown.text)
    assert found
    token = {"Authorization": f"Bearer {found[0]}"}
    listed = browser.get("/tokens").text
    assert "nightly &lt;b&gt;" in listed
    assert found[0] not in listed
    program = site.browser()
    assert program.get("/api/v1/account", headers=token).json()["role"] == "viewer"
    # A token makes none that may more than itself.
    assert program.post("/api/v1/tokens", json={"name": "more", "role": "operator"}, headers=token).status_code == 422
    assert program.post("/api/v1/tokens", json={"name": "same"}, headers=token).json()["record"]["role"] == "viewer"
    # Nor one that lasts longer: whoever has found it is out when it ends.
    ends = {one["expires_at"] for one in browser.get("/api/v1/tokens").json()["items"] if one["name"].startswith("nightly")}
    for days in (0, 1000):
        made = program.post("/api/v1/tokens", json={"name": "long", "days": days}, headers=token).json()["record"]
        assert {made["expires_at"][:16]} == {end[:16] for end in ends}
    assert program.post("/api/v1/tokens", json={"name": "short", "days": 1}, headers=token).json()["record"]["expires_at"] < min(ends)
    number = browser.get("/api/v1/tokens").json()["items"][0]["id"]
    eve = site.browser("eve", Role.OPERATOR)
    assert eve.post(f"/tokens/{number}/revoke").status_code == eve.get(f"/tokens/{number}/revoke").status_code == 404
    assert "Revoke this token" in browser.get(f"/tokens/{number}/revoke").text
    browser.post(f"/tokens/{number}/revoke")
    assert program.get("/api/v1/account", headers=token).status_code == 401
    assert browser.post(f"/tokens/{number}/revoke").status_code == 409
    assert "revoked" in browser.get("/tokens?over=1").text
    for data in ({}, {"name": "x", "role": "admin"}, {"name": "x", "days": "many"}, {"name": "x", "days": "999999"}, {"name": "x", "role": "king"}):
        assert browser.post("/tokens", data=data).status_code == 422, data
    assert browser.post("/api/v1/tokens", json={"name": "x", "username": "eve"}).status_code == 403


def test_an_admin_sees_and_revokes_what_others_have(site: Site) -> None:
    olga, ann = site.browser("olga", Role.OPERATOR), site.browser("ann")
    made = olga.post("/api/v1/tokens", json={"name": "hers"}).json()
    assert made["token"] not in ann.get("/tokens?whose=all").text
    assert "hers" in ann.get("/tokens?whose=all").text
    assert "hers" not in ann.get("/tokens").text
    ann.post(f"/tokens/{made['record']['id']}/revoke")
    assert rooms.deeds(site, "token_revoked") == ["ann"]
    (session,) = ann.get("/api/v1/sessions?username=olga").json()["items"]
    assert "olga" in ann.get("/sessions?whose=all").text
    ann.post(f"/sessions/{session['name']}/revoke")
    assert olga.get("/account").status_code == 303


def test_one_ends_ones_sessions(site: Site) -> None:
    browser, second, third = (site.browser("vera", Role.VIEWER) for _ in range(3))
    text = browser.get("/sessions").text
    assert text.count("this one") == 1
    assert browser.cookies["rqflow"] not in text
    names = [one["name"] for one in second.get("/api/v1/sessions").json()["items"]]
    assert len(names) == 3
    assert site.browser("eve", Role.OPERATOR).post(f"/sessions/{names[0]}/revoke").status_code == 404
    browser.post("/sessions/others")
    assert (browser.get("/account").status_code, second.get("/account").status_code, third.get("/account").status_code) == (200, 303, 303)
    assert browser.post("/sessions/none/revoke").status_code == 404
