"""Errors as people and programs get them."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from fastapi.dependencies.models import Dependant
from starlette.testclient import TestClient

from rqflow.web import rendering
from tests.integration.web import world
from tests.integration.web.site import BASE, Site


def unraising(site: Site) -> TestClient:
    """A client that is given the answer to a fault, and not the fault."""
    made = TestClient(site.app, base_url=BASE, follow_redirects=False, raise_server_exceptions=False)
    made.cookies.update(site.browser("ann").cookies)
    return made


@pytest.mark.parametrize("path", ["/nothing/here", "/api/v1/nothing", "/runs/no-such-run/x", "/api/v1/runs/none", "/api/v1/dags/none", "/dags/none/trigger",
                                  "/dags/%00/trigger", "/runs/%00", "/api/v1/runs/none@latest", "/dags/%ff%fe/trigger"])
def test_what_is_not_there_is_said_so_to_people_and_to_programs(site: Site, path: str) -> None:
    answer = site.browser("ann").get(path)
    assert answer.status_code == 404
    if path.startswith("/api"):
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status", "detail", "hint", "exit_code"} == set(answer.json())
    else:
        assert "<!doctype html>" in answer.text
        assert "Not found" in answer.text


@pytest.mark.parametrize("path", ["/api/v1/dags/%00", "/api/v1/runs/%00", "/api/v1/runs?dag_id=%00", "/api/v1/dags?tag=a&tag=%00"])
def test_what_is_no_text_is_bad_input(site: Site, path: str) -> None:
    answer = site.browser("ann").get(path)
    assert (answer.status_code, "no text" in answer.json()["detail"]) == (422, True)


def test_bad_input_is_named(site: Site) -> None:
    answer = site.browser("ann").get("/api/v1/runs?limit=many&state=good")
    assert (answer.status_code, answer.json()["exit_code"]) == (422, 2)
    assert "limit:" in answer.json()["detail"]
    assert "state" in answer.json()["detail"]


def test_a_fault_of_ours_shows_no_traceback_and_keeps_the_server_alive(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = unraising(site)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    with monkeypatch.context() as patch:
        patch.setattr("rqflow.web.pages.session.signin.who", broken)
        answer = browser.get("/login")
    assert (answer.status_code, "went wrong" in answer.text, "secret detail" in answer.text) == (500, True, False)
    with monkeypatch.context() as patch:
        patch.setattr("rqflow.web.pages.session.signin.who", broken)
        patch.setattr(rendering, "environment", broken)
        answer = browser.get("/login")
    assert (answer.status_code, answer.headers["content-type"], "secret detail" in answer.text) == (500, "text/plain; charset=utf-8", False)
    assert browser.get("/").status_code == 200


def test_ten_megabytes_of_conf_are_taken_and_more_is_refused(site: Site) -> None:
    browser = site.browser("ann")
    answer = browser.post("/api/v1/runs", json={"dag_id": "none", "conf": {"x": "y" * (10 << 20)}})
    assert answer.status_code == 404
    answer = browser.post("/api/v1/runs", json={"dag_id": "none", "conf": {"x": "y" * (12 << 20)}})
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    unannounced = browser.post("/api/v1/runs", content=iter([b'{"note": "', b"y" * (12 << 20)]), headers={"Content-Type": "application/json"})
    assert unannounced.status_code == 413


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"dag_id": 1}', b'{"dag_id": "a", "extra": 1}', b'{"dag_id": "\\ud800"}', b"[" * 100_000])
def test_nonsense_in_a_body_is_bad_input(site: Site, body: bytes) -> None:
    answer = site.browser("ann").post("/api/v1/runs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 404, 422}, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def parameters(dependant: Dependant) -> dict[str, bool]:
    """{name: whether it is a number} of what the query of a route may have, with what it depends on."""
    own = {one.alias: "int" in str(one.field_info.annotation) for one in dependant.query_params}
    return {name: is_number for inner in dependant.dependencies for name, is_number in parameters(inner).items()} | own


def test_no_query_makes_a_page_fail(site: Site) -> None:
    """Each parameter of each page is given a number that no database takes, or what is no text."""
    names = world.fill(site, lambda field: field.replace(" ", "-")).names
    browser, tried = unraising(site), 0
    for route in world.routes():
        for name, is_number in parameters(route.dependant).items():
            address = f"{world.address(route.path, names)}?{quote(name)}={'9' * 30 if is_number else '%00%ED%A0%80'}"
            assert browser.get(address).status_code < 500, address
            tried += 1
    assert tried > 100
