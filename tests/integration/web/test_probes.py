"""Whatever somebody puts into an address or a form comes back as text: each part of each path, each parameter, each field of each form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from fastapi.routing import APIRoute
from httpx2 import Response
from starlette.testclient import TestClient

from rqflow.web import rendering
from rqflow.web.pages import PAGES
from tests.integration.web.site import BASE, Site
from tests.integration.web.test_every_page import NAME, PROBE, probe
from tests.integration.web.world import World, fill, routes

#: Names of all fields that a form of ours has.
FIELDS = sorted({name for file in (Path(rendering.__file__).parent / "templates").rglob("*.html")
                 for name in re.findall(r'name="([\w.]+)"', file.read_text(encoding="utf-8"))})
#: What would do something: an element, or the end of an attribute with a handler behind it.
LIVE = re.compile(r"<script>alert|<img src=x|[\"'] ?onerror=|href=[\"']?javascript:", re.IGNORECASE)
#: What would lead away, where it stands as the place to go on at.
AWAY = ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/\r\nSet-Cookie: x=1")
#: Deeds after which there is nothing left to be probed, and those that are no forms.
LAST = ("/logout", "delete", "disable", "password", "log-out", "sessions")


def wrong_with(answer: Response) -> str:
    """What is wrong with an answer."""
    if answer.status_code >= 500:
        return f"{answer.status_code}: {answer.text[:300]}"
    place = answer.headers.get("location", "")
    if place and (urlsplit(place).netloc not in {"", urlsplit(BASE).netloc} or urlsplit(place).scheme not in {"", "http"} or place.startswith(("//", "/\\"))):
        return f"leads to {place}"
    if answer.headers.get("content-type", "").startswith("text/html"):
        found = LIVE.search(answer.text)
        if found:
            return answer.text[max(0, found.start() - 100):found.end() + 60]
    return ""


@pytest.fixture
def world(site: Site) -> World:
    return fill(site, probe)


def posts() -> Iterator[APIRoute]:
    """The routes of all forms; what ends sessions or removes things comes last."""
    found = [route for room in PAGES for route in room.router.routes if isinstance(route, APIRoute) and "POST" in route.methods]
    yield from sorted(found, key=lambda route: any(word in route.path for word in LAST))


def addresses(world: World) -> Iterator[str]:
    """Each page with each of its parameters, and each part of its path, filled with a probe."""
    for route in routes():
        for parameter in route.dependant.query_params:
            yield f"{world(route.path)}?{quote(parameter.alias)}={quote(PROBE)}"
        for part in re.findall(r"\{[\w:]+\}", route.path):
            yield world(route.path.replace(part, quote(f"no{NAME}", safe="")))
    for place in AWAY:
        yield f"/login?next={quote(place)}"


@pytest.mark.timeout(240)
def test_what_an_address_asks_for_comes_back_as_text(site: Site, world: World) -> None:
    browser, seen, wrong = TestClient(site.app, base_url=BASE, follow_redirects=False, raise_server_exceptions=False), 0, []
    browser.cookies.update(site.browser("ann").cookies)
    for address in addresses(world):
        answer = browser.get(address)
        seen += "&lt;script&gt;alert(1)" in answer.text
        if said := wrong_with(answer):
            wrong.append(f"{address}: {said}")
    assert wrong == [], "\n".join(wrong)
    assert seen > 50, "the answers are those that name what was asked for"


@pytest.mark.timeout(240)
def test_what_a_form_brings_comes_back_as_text_and_leads_nowhere_else(site: Site, world: World) -> None:
    browser, wrong, answers, away = site.browser("ann"), [], set(), cycle(AWAY)
    for route in posts():
        path = world(re.sub(r"\{(session|username)\}", "nobody", route.path))
        for filled in ({}, dict.fromkeys(FIELDS, PROBE), dict.fromkeys(("next", "back"), next(away))):
            answer = browser.post(path, data=filled)
            answers.add(answer.status_code)
            wrong += [f"{route.path} {filled}: {said}" for said in [wrong_with(answer)] if said]
            if answer.headers.get("location", "").startswith("/login"):
                browser = site.browser("ann")
            elif answer.status_code == 303:
                followed = browser.get(answer.headers["location"])
                wrong += [f"after {route.path} {filled}: {said}" for said in [wrong_with(followed)] if said]
    assert wrong == [], "\n".join(wrong)
    assert {303, 404, 409, 422} <= answers
