"""Variables and Connections: made, changed, tested, brought and taken along; their secrets are in no answer."""

from __future__ import annotations

import json

from rqflow.actions import connections, variables
from rqflow.security.keyring import Keyring
from rqflow.security.roles import Role
from tests.integration.web import rooms
from tests.integration.web.site import Site

SECRET = "hunter2-<&>-\u00fc"


def ring(site: Site) -> Keyring:
    return Keyring.of(site.app.state.parts.lasting.settings)


def test_a_variable_is_made_changed_and_deleted(site: Site) -> None:
    browser = site.browser("ann")
    assert browser.get("/variables").status_code == 200
    answer = browser.post("/variables", data={"key": "city <b>", "value": "a\r\nb", "description": "<i>where"})
    assert answer.headers["location"] == "/variables"
    text = browser.get("/variables").text
    assert "city &lt;b&gt;" in text
    assert "&lt;i&gt;where" in text
    assert browser.get("/api/v1/variables/city%20%3Cb%3E").json()["value"] == "a\nb"
    assert "a\nb" in browser.get("/variables/city%20%3Cb%3E").text
    browser.post("/variables/city%20%3Cb%3E/edit", data={"value": "Chur"})
    assert browser.get("/api/v1/variables").json()["items"][0]["value"] == "Chur"
    assert browser.post("/variables", data={"key": "city <b>", "value": "x"}).status_code == 422
    assert "Delete this Variable" in browser.get("/variables/city%20%3Cb%3E/delete").text
    browser.post("/variables/city%20%3Cb%3E/delete")
    assert browser.get("/variables/city%20%3Cb%3E").status_code == 404
    assert rooms.deeds(site, "variable_set") == ["ann", "ann"]
    assert rooms.deeds(site, "variable_deleted") == ["ann"]
    for path in ("/variables/x/edit", "/variables/x/delete"):
        assert browser.get(path).status_code == 404, path
    assert browser.get("/variables/a%00b/edit").status_code in {404, 422}


def test_a_secret_variable_is_changed_and_never_shown(site: Site) -> None:
    browser = site.browser("ann")
    wrong = browser.post("/variables", data={"key": "\t", "value": SECRET, "secret": "1"})
    assert wrong.status_code == 422
    browser.post("/variables", data={"key": "key", "value": SECRET, "secret": "1"})
    browser.post("/variables", data={"key": "db_password", "value": SECRET})
    answers = [wrong, *(browser.get(path) for path in (
        "/variables", "/variables/key", "/variables/key/edit", "/variables/db_password", "/variables/db_password/edit", "/variable-export",
        "/api/v1/variables", "/api/v1/variables/key", "/api/v1/variables-export", "/audit", "/api/v1/audit"))]
    assert [one.status_code for one in answers[1:-2]] == [200] * 9
    assert not [one.url for one in answers if "hunter2" in one.text]
    # An empty field keeps it, also when it is described anew; that it is no secret any more takes a new value.
    browser.post("/variables/key/edit", data={"value": "", "secret": "1", "description": "of the API"})
    assert variables.get(site.engine, ring(site), "key", show_secret=True).value == SECRET
    refused = browser.post("/variables/key/edit", data={"value": ""})
    assert refused.status_code == 422
    assert "shown to nobody" in refused.text
    assert browser.put("/api/v1/variables/key", json={"is_secret": False}).status_code == 422
    browser.post("/variables/key/edit", data={"value": "open"})
    assert browser.get("/api/v1/variables/key").json()["value"] == "open"


def test_variables_are_brought_and_taken_along_without_secrets(site: Site) -> None:
    browser = site.browser("ann")
    given = {"city": "Bern", "sizes": [1, 2], "token": {"value": SECRET, "secret": True}}
    assert browser.post("/variable-import", files={"file": ("v.json", json.dumps(given))}).status_code == 303
    assert "3 Variables stored, 3 new" in browser.get("/variables").text
    assert browser.get("/variable-export").json() == {"city": "Bern", "sizes": "[1, 2]"}
    for text in ("", "{", "[]", '{"": 1}', '"' + SECRET):
        answer = browser.post("/variable-import", data={"text": text})
        assert answer.status_code == 422
        assert "hunter2" not in answer.text
    odd = r'{"variables": {"x": "\ud800\u0000", "y": {"a": ["\udfff"]}}}'
    answer = browser.post("/api/v1/variables/import", content=odd, headers={"Content-Type": "application/json"})
    assert answer.status_code in {200, 422}
    assert {browser.get(path).status_code for path in ("/variables", "/variables/x", "/variable-export", "/api/v1/variables")} == {200}


def test_a_connection_is_made_changed_and_its_secrets_are_never_shown(site: Site) -> None:
    browser = site.browser("ann")
    form = {"conn_type": "mysql", "host": "db1 <b>", "port": "3306", "schema": "lims", "login": "ann", "description": "<i>"}
    extra = json.dumps({"pat": SECRET})
    wrong = browser.post("/connections", data={**form, "conn_id": "lims", "password": SECRET, "extra": "hunter2", "port": "3306"})
    assert wrong.status_code == 422
    assert browser.post("/connections", data={**form, "conn_id": "lims", "password": SECRET, "extra": extra}).status_code == 303
    paths = ("/connections", "/connections/lims/edit", "/connections/lims/delete", "/connection-export", "/api/v1/connections",
             "/api/v1/connections/lims", "/api/v1/connections-export", "/api/v1/audit")
    answers = [wrong, *(browser.get(path) for path in paths)]
    assert [one.status_code for one in answers[1:]] == [200] * len(paths)
    assert not [one.url for one in answers if "hunter2" in one.text]
    assert "db1 &lt;b&gt;" in answers[1].text
    # What is left empty stays, while it leads to the same server.
    browser.post("/connections/lims/edit", data={**form, "login": "bob"})
    kept = connections.get(site.engine, ring(site), "lims", show_secrets=True)
    assert (kept.login, kept.password, json.loads(kept.extra)) == ("bob", SECRET, {"pat": SECRET})
    stolen = browser.post("/connections/lims/edit", data={**form, "host": "evil.example.org"})
    assert stolen.status_code == 422
    assert "another server" in stolen.text
    assert browser.put("/api/v1/connections/lims", json={"uri": "mysql://evil.example.org/x"}).status_code == 422
    assert connections.listed(site.engine, "lims").host == "db1 <b>"
    browser.post("/connections/lims/edit", data={**form, "host": "db2", "password": "", "no_password": "1", "no_extra": "1"})
    moved = connections.get(site.engine, ring(site), "lims", show_secrets=True)
    assert (moved.host, moved.password, moved.extra) == ("db2", "", "")
    browser.post("/connections/lims/delete")
    assert browser.get("/connections/lims/edit").status_code == 404
    assert rooms.deeds(site, "connection_set") == ["ann"] * 3


def test_a_connection_is_tested(site: Site) -> None:
    browser = site.browser("ann")
    browser.put("/api/v1/connections/file", json={"conn_type": "sqlite", "host": str(site.settings.home / "x.db")})
    browser.put("/api/v1/connections/gone", json={"uri": f"mysql://ann:{'hunter2'}@127.0.0.1:1/none"})
    browser.put("/api/v1/connections/odd", json={"uri": "carrier-pigeon://roof"})
    assert browser.post("/api/v1/connections/file/test").json()["works"] is True
    browser.post("/connections/gone/test")
    text = browser.get("/connections").text
    assert "it does not work" in text
    assert "hunter2" not in text
    assert browser.post("/connections/odd/test").status_code == 422
    assert browser.post("/connections/none/test").status_code == 404


def test_connections_are_brought_and_what_is_none_is_refused(site: Site) -> None:
    browser = site.browser("ann")
    given = {"a": "mysql://u:hunter2@h/s", "b": {"conn_type": "http", "host": "web", "extra": {"x": 1}}}
    browser.post("/connection-import", data={"text": json.dumps(given)})
    assert "2 Connections stored, 2 new" in browser.get("/connections").text
    file = browser.get("/connection-export").json()
    assert file == {"a": {"conn_type": "mysql", "host": "h", "schema": "s", "login": "u"}, "b": {"conn_type": "http", "host": "web"}}
    # Brought back as it was taken along, nothing is lost.
    browser.post("/connection-import", data={"text": json.dumps(file)})
    assert connections.get(site.engine, ring(site), "a", show_secrets=True).password == "hunter2"
    for odd in ("hunter2", {"host": "x"}, {"conn_type": "x", "host": {"a": 1}}, {"conn_type": "x", "port": "many"}, {"conn_type": "x", "port": 1e999},
                {"conn_type": "x", "port": 99999}, {"conn_type": "x", "port": [1]}, 7, None, {"conn_type": "x", "extra": "[1]"}):
        answer = browser.post("/connection-import", data={"text": json.dumps({"c": odd}).replace("Infinity", "1e999")})
        assert answer.status_code == 422, odd
        assert "hunter2" not in answer.text
    for data in ({}, {"conn_id": "x"}, {"conn_id": "x", "conn_type": "y", "port": "-1"}, {"conn_id": "x", "conn_type": "y", "port": "0"}):
        assert browser.post("/connections", data=data).status_code == 422, data


def test_who_is_no_admin_changes_no_secret_and_a_viewer_sees_none(site: Site) -> None:
    browser = site.browser("ann")
    browser.put("/api/v1/variables/v", json={"value": "1"})
    browser.put("/api/v1/connections/c", json={"uri": "http://x"})
    rooms.refused(site, ["GET /variable-new", "POST /variables", "GET /variables/v/edit", "POST /variables/v/edit", "GET /variables/v/delete",
                         "POST /variables/v/delete", "GET /variable-import", "POST /variable-import", "GET /variable-export",
                         "GET /connection-new", "POST /connections", "GET /connections/c/edit", "POST /connections/c/edit", "POST /connections/c/test",
                         "GET /connections/c/delete", "POST /connections/c/delete", "GET /connection-import", "POST /connection-import",
                         "GET /connection-export", "GET /api/v1/variables-export", "POST /api/v1/connections/c/test"])
    operator, viewer = site.browser("olga", Role.OPERATOR), site.browser("vera", Role.VIEWER)
    for path in ("/variables", "/connections", "/api/v1/variables", "/api/v1/connections"):
        assert operator.get(path).status_code == 200
        assert "/edit" not in operator.get(path).text
        assert viewer.get(path).status_code == 403
    assert "/variables" not in viewer.get("/pools").text
