"""Names with slashes in them, as Variables of Airflow have: each has its pages and its place in the API."""

from __future__ import annotations

from tests.integration.web.site import Site


def test_what_has_a_slash_in_its_name_is_shown_changed_and_deleted(site: Site) -> None:
    browser = site.browser("ann")
    browser.post("/variables", data={"key": "mail/to", "value": "lab@example.org"})
    browser.post("/connections", data={"conn_id": "mail/to", "conn_type": "http", "host": "mail.example.org"})
    browser.post("/pools", data={"pool": "mail/to", "slots": "2"})
    assert 'href="/variables/mail%2Fto"' in browser.get("/variables").text
    assert "lab@example.org" in browser.get("/variables/mail%2Fto").text
    assert browser.get("/api/v1/variables/mail%2fto").json()["key"] == "mail/to"
    assert "mail.example.org" in browser.get("/connections/mail%2Fto/edit").text
    assert browser.get("/api/v1/pools/mail%2Fto").json()["slots"] == 2
    assert browser.post("/pools/mail%2Fto/edit", data={"slots": "3"}).status_code == 303
    assert "mail/to" in browser.get("/pools/mail%2Fto").text
    for room in ("variables", "connections", "pools"):
        assert browser.post(f"/{room}/mail%2Fto/delete").status_code == 303
        assert browser.get(f"/{room}/mail%2Fto/delete").status_code == 404


def test_a_slash_between_names_stays_one(site: Site) -> None:
    browser = site.browser("ann")
    assert browser.get("/variables/mail/to").status_code == 404
    assert browser.get("/variables%2Fmail").status_code == 404
    assert browser.get("/variables?q=a%2Fb").status_code == 200
    assert site.browser().get("/variables/mail%2Fto").headers["location"].startswith("/login?next=/variables/mail")
