"""Logging in by a proxy that is trusted, and by a provider of OpenID Connect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from starlette.testclient import TestClient

from rqflow.actions.people import audit, users
from rqflow.deploy.lasting import Lasting
from rqflow.exceptions import ConfigError
from rqflow.security.passwords import Passwords
from rqflow.security.roles import Role
from rqflow.store.events import EventFilter
from rqflow.web.server import Way, before
from tests.integration.web.provider import Provider
from tests.integration.web.serving import served
from tests.integration.web.site import BASE, Site

Configure = Callable[..., None]


@pytest.fixture
def configure(site: Site) -> Configure:
    """Changes settings of [webserver]."""
    def change(**webserver: Any) -> None:
        settings = replace(site.settings, webserver=replace(site.settings.webserver, **webserver))
        site.app.state.parts.lasting = Lasting(settings, client_name="rqflow-web")

    return change


def from_address(site: Site, address: str) -> TestClient:
    return TestClient(site.app, base_url=BASE, client=(address, 1), follow_redirects=False)


def test_a_proxy_that_is_trusted_names_the_user_and_nobody_else_does(site: Site, configure: Configure) -> None:
    configure(user_header="Remote-User", trusted_proxies="192.0.2.1, 198.51.100.0/24")
    users.add(site.engine, "ann", role=Role.VIEWER, by="test", source=users.Source.PROXY)
    for address, status in (("192.0.2.1", 200), ("198.51.100.7", 200), ("192.0.2.2", 303), ("testclient", 303)):
        assert from_address(site, address).get("/", headers={"Remote-User": "ann"}).status_code == status, address
    assert from_address(site, "192.0.2.1").get("/", headers={"Remote-User": "stranger"}).status_code == 403
    configure(user_header="Remote-User", trusted_proxies="192.0.2.1", proxy_role="viewer")
    assert from_address(site, "192.0.2.1").get("/", headers={"Remote-User": "stranger"}).status_code == 200
    assert users.get(site.engine, "stranger").role == Role.VIEWER
    configure()
    assert from_address(site, "192.0.2.1").get("/", headers={"Remote-User": "ann"}).status_code == 303


def test_a_proxy_that_tells_of_who_is_behind_it_is_still_known(site: Site, configure: Configure) -> None:
    """Most proxies send X-Forwarded-For, after which a request comes from the person; whose word is believed is that of who is nearest."""
    configure(user_header="Remote-User", trusted_proxies="127.0.0.1, 192.0.2.0/24")
    users.add(site.engine, "ann", role=Role.VIEWER, by="test", source=users.Source.PROXY)
    app = before(site.app, site.settings, Way(host="0.0.0.0", port=0, proxies="127.0.0.1, 192.0.2.0/24"))
    for nearest, behind, status in (("127.0.0.1", "203.0.113.9", 200), ("192.0.2.1", "203.0.113.9", 200), ("203.0.113.9", "192.0.2.1", 303)):
        browser = TestClient(app, base_url=BASE, client=(nearest, 1), follow_redirects=False)
        assert browser.get("/", headers={"Remote-User": "ann", "X-Forwarded-For": behind}).status_code == status, nearest


def test_behind_a_proxy_for_https_cookies_are_for_https_alone(site: Site) -> None:
    users.add(site.engine, "ann", role=Role.VIEWER, by="test", password="correct horse")
    app = before(site.app, site.settings, Way(host="127.0.0.1", port=0, proxies="192.0.2.1"))
    for nearest, name in (("192.0.2.1", "__Host-rqflow="), ("192.0.2.2", "rqflow=")):
        browser = TestClient(app, base_url="http://localhost:8080", client=(nearest, 1), follow_redirects=False)
        answer = browser.post("/login", data={"username": "ann", "password": "correct horse"}, headers={"X-Forwarded-Proto": "https"})
        cookie = answer.headers["set-cookie"]
        assert (cookie.startswith(name), "secure" in cookie.lower()) == (True, nearest == "192.0.2.1"), cookie


@pytest.mark.parametrize("proxies", ["*", "proxy.example", "10.0.0.0/8, 300.1.1.1"])
def test_what_is_no_address_of_a_proxy_is_refused_before_anybody_is_believed(proxies: str) -> None:
    with pytest.raises(ConfigError, match="trusted_proxies"):
        Way(host="127.0.0.1", port=0, proxies=proxies).check()


def test_names_that_a_proxy_or_a_provider_gives_are_text(site: Site, configure: Configure) -> None:
    live, told = "<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"
    evil = f"{live}\"'><img src=x onerror=alert(2)>"

    def is_text(shown: str) -> bool:
        return told in shown and live not in shown and "<img src=x" not in shown

    for role in ("", "viewer"):
        configure(user_header="Remote-User", trusted_proxies="192.0.2.1", proxy_role=role)
        refused = from_address(site, "192.0.2.1").get("/", headers={"Remote-User": evil})
        assert refused.status_code in {403, 422}
        assert is_text(refused.text)
    made = Provider(preferred_username="eve", name=evil, email="eve@example.org")
    with served(made.app) as url:
        configure(oidc_issuer=url, oidc_client_id="rqflow", proxy_role="operator", oidc_name=evil)
        users.add(site.engine, "root", role=Role.ADMIN, by="test")
        browser = site.browser()
        assert is_text(browser.get("/login").text)
        browser.get(httpx2.get(browser.get("/oidc/login").headers["location"], follow_redirects=False).headers["location"])
        assert is_text(browser.get("/account").text)
        assert is_text(site.browser("ann").get("/users").text)


@pytest.fixture
def provider() -> Iterator[tuple[Provider, str]]:
    made = Provider(preferred_username="ann", name="Ann", email="ann@example.org")
    with served(made.app) as url:
        yield made, url


def back_from(browser: TestClient) -> str:
    """Where a provider sends somebody back to who has begun to log in with this browser."""
    sent = browser.get("/oidc/login?next=/dags")
    return httpx2.get(sent.headers["location"], follow_redirects=False).headers["location"]


def test_a_person_logs_in_by_a_provider(site: Site, configure: Configure, provider: tuple[Provider, str]) -> None:
    configure(oidc_issuer=provider[1], oidc_client_id="rqflow", proxy_role="operator", oidc_name="Lab login")
    users.add(site.engine, "root", role=Role.ADMIN, by="test")
    browser = site.browser()
    assert "Log in with Lab login" in browser.get("/login?next=/dags").text
    back = back_from(browser)
    assert back.startswith(f"{BASE}/oidc/back?code=")
    entered = browser.get(back)
    assert (entered.status_code, entered.headers["location"]) == (303, "/dags"), entered.text
    assert browser.get("/").status_code == 200
    assert (users.get(site.engine, "ann").email, users.get(site.engine, "ann").role) == ("ann@example.org", Role.OPERATOR)


def test_an_account_with_a_password_is_the_providers_only_when_an_administrator_says_so(site: Site, configure: Configure,
                                                                                        provider: tuple[Provider, str]) -> None:
    """Who may choose their name at a provider is not the administrator of that name here."""
    configure(oidc_issuer=provider[1], oidc_client_id="rqflow", proxy_role="operator")
    users.add(site.engine, "ann", role=Role.ADMIN, by="test", password="a good password", passwords=Passwords(memory=64, passes=1))
    browser = site.browser()
    refused = browser.get(back_from(browser))
    assert (refused.status_code, browser.get("/").status_code) == (403, 303)
    assert "user ann logs in with a password here" in refused.text
    assert "an administrator says so by <a href=\"/users\">the page Users</a>" in refused.text
    (failed,) = audit.search(site.engine, EventFilter(event="login_failed"))
    assert (failed.who, failed.detail["why"]) == ("ann", "not the provider's")
    users.edit(site.engine, "ann", by="test", source=users.Source.OIDC)
    assert browser.get(back_from(browser)).status_code == 303


def test_somebody_who_was_added_without_a_password_comes_by_the_provider(site: Site, configure: Configure, provider: tuple[Provider, str]) -> None:
    configure(oidc_issuer=provider[1], oidc_client_id="rqflow", proxy_role="")
    browser = site.browser()
    refused = browser.get(back_from(browser)).text
    assert "There is no user ann" in refused
    assert "rqflow user add ann --no-password" in refused, "with one, the provider would not let them in"
    users.add(site.engine, "ann", role=Role.VIEWER, by="test")
    assert browser.get(back_from(browser)).status_code == 303


def test_the_answer_of_a_provider_is_good_in_the_browser_that_asked_alone(site: Site, configure: Configure, provider: tuple[Provider, str]) -> None:
    configure(oidc_issuer=provider[1], oidc_client_id="rqflow", proxy_role="operator")
    back = back_from(site.browser())
    other = site.browser()
    assert other.get(back).status_code == 403
    other.get("/oidc/login")
    assert other.get(back).status_code == 403
    own = site.browser()
    query = urlsplit(own.get("/oidc/login").headers["location"]).query
    state = dict(part.split("=") for part in query.split("&"))["state"]
    refused = own.get(f"/oidc/back?state={state}&code=stolen")
    assert (refused.status_code, "The provider refuses" in refused.text) == (403, True)
    assert own.get("/oidc/back?error=access_denied&error_description=%3Cscript%3E").status_code == 403


@pytest.mark.parametrize("kept", ['{"state": "a", "verifier": "b", "next": "/"}', "[1]", "{}", "5", "[" * 3000, "no JSON"])
def test_what_came_back_from_nowhere_is_refused_and_no_fault(site: Site, configure: Configure, kept: str) -> None:
    configure(oidc_issuer="http://127.0.0.1:1", oidc_client_id="rqflow")
    browser = site.browser()
    browser.cookies.set("rqflow_oidc", kept.encode().hex())
    for state in ("", "b", "%C3%A9", "%ED%A0%80"):
        assert browser.get(f"/oidc/back?state={state}").status_code == 403, state


def test_a_provider_that_is_away_or_is_none_is_said(site: Site, configure: Configure, provider: tuple[Provider, str],
                                                    caplog: pytest.LogCaptureFixture) -> None:
    assert site.browser().get("/oidc/login").status_code == 403
    configure(oidc_issuer="http://127.0.0.1:1", oidc_client_id="rqflow")
    answer = site.browser().get("/oidc/login")
    assert (answer.status_code, "he provider of logins does not answer as it should" in answer.text) == (503, True)
    assert "127.0.0.1:1" not in answer.text
    assert "127.0.0.1" in caplog.text
