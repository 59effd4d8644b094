"""People: added, changed, disabled, deleted by admins; whose DAGs are; what each deed leaves in the audit log."""

from __future__ import annotations

import re

from rqflow.actions.people import ownership, users
from rqflow.security.roles import Role
from rqflow.store import dags
from rqflow.store.engine import reading
from tests.integration.web import rooms
from tests.integration.web.site import Site
from tests.unit.builders import a_version

PASSWORD = "correct horse battery"




def test_a_person_is_added_changed_and_deleted(site: Site) -> None:
    browser = site.browser("ann")
    form = {"username": "bob", "role": "operator", "full_name": "Bob <b>", "email": "bob@example.org"}
    assert browser.post("/users", data={**form, "password": PASSWORD}).headers["location"] == "/users"
    text = browser.get("/users").text
    assert "Bob &lt;b&gt;" in text
    assert PASSWORD not in text
    assert browser.post("/users", data=form).status_code == 409
    assert "Bob &lt;b&gt;" in browser.get("/users/bob/edit").text
    browser.post("/users/bob/edit", data={"role": "viewer", "source": "oidc", "full_name": "", "email": ""})
    changed = users.get(site.engine, "bob")
    assert (changed.role, changed.source) == ("viewer", "oidc")
    browser.post("/users/bob/delete")
    assert browser.get("/users/bob/edit").status_code == 404
    for event in ("user_edited", "user_deleted"):
        assert rooms.deeds(site, event) == ["ann"], event


def test_what_nobody_can_be_is_said_and_what_was_filled_in_stays_but_the_password(site: Site) -> None:
    browser = site.browser("ann")
    for data in ({"username": "", "role": "viewer"}, {"username": "a b", "role": "viewer"}, {"username": "x", "role": "king"}, {"username": "x"},
                 {"username": "x", "role": "viewer", "password": "short"}, {"username": "x", "role": "viewer", "email": "no"},
                 {"username": "a\0", "role": "viewer"}, {"username": "x" * 101, "role": "viewer"}):
        answer = browser.post("/users", data={"full_name": "<kept>", "password": PASSWORD, **data})
        assert answer.status_code == 422, data
        assert "&lt;kept&gt;" in answer.text
        assert PASSWORD not in answer.text
    assert browser.post("/users/ann/edit", data={"role": "admin", "source": "password", "email": "x"}).status_code == 422
    wrong = browser.post("/users/ann/edit", data={"role": "admin", "source": "king"})
    assert (wrong.status_code, "is none of password, proxy, oidc" in wrong.text) == (422, True)
    assert browser.get("/users/a%00b/edit").status_code in {404, 422}


def test_a_setup_link_is_shown_once_and_lets_its_person_choose_a_password(site: Site) -> None:
    browser = site.browser("ann")
    shown = browser.post("/users", data={"username": "bob", "role": "viewer", "link": "1"})
    assert shown.status_code == 200
    found = re.search(r"http://hub:8080(/setup/[\w-]+)", shown.text)
    assert found
    assert "data-copy" in shown.text
    assert "no-store" in shown.headers["cache-control"]
    assert found[1] not in browser.get("/users").text + browser.get("/audit").text
    stranger = site.browser()
    assert stranger.post(found[1], data={"username": "bob", "password": PASSWORD, "again": PASSWORD}).headers["location"] == "/"
    assert stranger.get("/account").status_code == 200
    again = browser.post("/users/bob/setup-link")
    assert "/setup/" in again.text
    assert browser.post("/users/nobody/setup-link").status_code == 404
    assert browser.post("/api/v1/setup-links", json={"username": "bob"}).json()["path"].startswith("/setup/")


def test_who_leaves_loses_sessions_and_tokens_and_hands_their_dags_over(site: Site) -> None:
    browser, bob = site.browser("ann"), site.browser("bob", Role.OPERATOR)
    site.hub.start(a_version(dag_id="nightly"), run_id="first")
    ownership.chown(site.engine, "nightly", "bob", by="test")
    token = bob.post("/api/v1/tokens", json={"name": "script"}).json()["token"]
    asked = browser.get("/users/bob/disable").text
    assert "All go to ann, and go on" in asked
    assert "All go to bob" not in asked
    browser.post("/users/bob/disable", data={"hand_over": "ann"})
    text = browser.get("/users").text
    assert "1 session ended, 1 token revoked. ann got nightly." in text
    assert "disabled" in text
    assert bob.get("/account").status_code == 303
    assert site.browser().get("/api/v1/account", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    with reading(site.engine) as connection:
        assert dags.find(connection, "nightly").submitted_by == "ann"
    browser.post("/users/bob/enable")
    assert users.get(site.engine, "bob").is_active
    assert browser.post("/users/ann/disable").status_code == 409  # the only administrator
    assert browser.post("/users/bob/disable", data={"hand_over": "nobody"}).status_code == 404


def test_the_map_of_owners_is_kept(site: Site) -> None:
    browser = site.browser("ann")
    browser.post("/owners", data={"owner": "<lab>", "username": "ann"})
    assert "&lt;lab&gt;" in browser.get("/users").text
    assert browser.get("/api/v1/owners").json()["items"][0]["owner"] == "<lab>"
    browser.post("/owners/delete", data={"owner": "<lab>", "username": "ann"})
    assert browser.get("/api/v1/owners").json()["items"] == []
    for data, status in (({"owner": "", "username": "ann"}, 422), ({"owner": "x", "username": "nobody"}, 404), ({}, 422)):
        assert browser.post("/owners", data=data).status_code == status
    assert browser.post("/owners/delete", data={"owner": "x"}).status_code == 404


def test_who_is_no_admin_sees_and_changes_nobody(site: Site) -> None:
    site.browser("ann")
    rooms.refused(site, ["GET /users", "POST /users", "GET /user-new", "GET /users/ann/edit", "POST /users/ann/edit", "GET /users/ann/disable",
                         "POST /users/ann/disable", "POST /users/ann/enable", "GET /users/ann/delete", "POST /users/ann/delete",
                         "POST /users/ann/setup-link", "POST /owners", "POST /owners/delete", "GET /audit", "GET /api/v1/users", "GET /api/v1/audit",
                         "GET /tokens?whose=all", "GET /sessions?whose=all", "GET /api/v1/owners", "GET /api/v1/sessions?username=ann"])


def test_the_audit_log_is_filtered_paged_and_readable(site: Site) -> None:
    browser = site.browser("ann")
    for number in range(60):
        browser.put(f"/api/v1/pools/p{number}", json={"slots": number})
    first = browser.get("/audit?event=pool_set").text
    assert "pool set" in first
    assert "<dd>59</dd>" in first
    assert "p3" not in re.findall(r"<dd>(\w+)</dd>", first)
    older = re.search(r'href="(/audit\?[^"]*after=[^"]*)"', first)
    assert older
    second = browser.get(older[1].replace("&amp;", "&")).text
    assert "p3" in re.findall(r"<dd>(\w+)</dd>", second)
    assert "Newest" in second
    assert "Nobody did such a thing" in browser.get("/audit?who=%3Cb%3E").text
    assert "login" in browser.get("/audit?since=2020-01-01&until=2999-01-01T00:00&who=ann&event=login").text
    for bad in ("since=soon", "until=x", "after=x", "after=1-%00"):
        assert browser.get(f"/audit?{bad}").status_code in {200, 422}, bad
    assert browser.get("/audit?since=soon").status_code == 422
    items = browser.get("/api/v1/audit?limit=2").json()
    assert len(items["items"]) == 2
    assert browser.get(f"/api/v1/audit?limit=2&after={items['next']}").json()["items"][0]["name"] != items["items"][1]["name"]
