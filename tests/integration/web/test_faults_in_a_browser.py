"""What somebody in front of the page sees when their session ends, others were quicker, or Redis or the database is away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from rqflow.actions.people import users
from rqflow.deploy.lasting import Lasting
from rqflow.security.roles import Role
from rqflow.settings import Database, RedisSettings
from rqflow.states import TaskState
from tests.integration.broker import playing
from tests.integration.web.chromium import Window, chromium
from tests.integration.web.serving import served
from tests.integration.web.site import Site
from tests.services import OwnRedis
from tests.unit.builders import a_version

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def base(site: Site) -> Iterator[str]:
    """Where a site is served that has one failed run; its people have a password."""
    for name in ("ann", "bob"):
        users.add(site.engine, name, role=Role.ADMIN, by="test", password=PASSWORD)
    site.hub.start(a_version({"a": [], "b": ["a"]}, dag_id="daily"), run_id="old")
    playing.play(site.hub.broker, {"a": TaskState.FAILED})
    site.hub.record()
    with served(site.app) as url:
        yield url


@pytest.fixture
def window(site: Site, base: str, browser: Browser) -> Iterator[Window]:
    made = Window(browser, base, site.browser("ann"))
    yield made
    made.close()


def log_in(page: Page) -> None:
    expect(page.locator("main")).to_contain_text("What you were about to do was not done")
    page.get_by_label("User name").fill("ann")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def open_run(page: Page) -> None:
    page.goto("/runs?dag=daily")
    page.get_by_role("link", name="old").click()
    expect(page.locator("#run-head")).to_contain_text("failed")


def test_a_session_that_ends_in_the_middle_of_a_deed_leads_back_to_it_after_the_login(window: Window) -> None:
    page = window.page
    page.goto("/dags/daily/trigger")
    window.context.clear_cookies()
    page.get_by_role("button", name="Start the run").click()
    log_in(page)
    page.wait_for_url("**/dags/daily/trigger")
    page.get_by_role("button", name="Start the run").click()
    expect(page.locator(".flash")).to_contain_text("started")
    # The same in a dialog.
    open_run(page)
    at = page.url
    page.locator("#run-head").get_by_role("link", name="Clear…").click()
    page.locator("#dialog .run-means").wait_for()
    window.forgive("401")
    window.context.clear_cookies()
    page.locator("#dialog").get_by_role("button", name="again").click()
    log_in(page)
    page.wait_for_url(at)


def test_of_two_who_clear_the_same_the_second_is_told_that_it_has_changed(site: Site, base: str, browser: Browser, window: Window) -> None:
    other = Window(browser, base, site.browser("bob"))
    for page in (window.page, other.page):
        open_run(page)
        page.locator("#run-head").get_by_role("link", name="Clear…").click()
        page.locator("#dialog .run-means").wait_for()
    window.page.locator("#dialog").get_by_role("button", name="again").click()
    expect(window.page.locator(".flash")).to_be_visible()
    playing.claim(site.hub.broker)
    other.forgive("409")
    other.page.locator("#dialog").get_by_role("button", name="again").click()
    expect(other.page.locator("#dialog .alert-box")).to_contain_text("ann cleared tasks of this run")
    other.close()


def test_while_redis_is_away_the_history_is_read_and_deeds_say_why_not(site: Site, window: Window, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    server = OwnRedis(tmp_path / "own")
    site.app.state.parts.lasting = Lasting(replace(site.settings, redis=RedisSettings(url=server.url)), client_name="rqflow-web")
    page = window.page
    open_run(page)
    expect(page.locator("#run-head")).to_contain_text("Redis does not answer")
    expect(page.locator(".run-rows a[data-task=a]")).to_contain_text("failed")
    window.forgive("503")
    page.goto("/dags/daily/trigger")
    page.get_by_role("button", name="Start the run").click()
    expect(page.locator("main")).to_contain_text("Redis does not answer")
    expect(page.locator("main")).to_contain_text("Nothing is lost")


def test_while_the_database_is_away_a_page_says_so_and_is_there_again_by_itself(site: Site, window: Window) -> None:
    parts = site.app.state.parts
    whole, parts.lasting = parts.lasting, Lasting(replace(site.settings, database=Database(url="mysql://root@127.0.0.1:1/none")), client_name="rqflow-web")
    window.forgive("503")
    page = window.page
    page.goto("/dags")
    expect(page.locator("main")).to_contain_text("Nothing is lost")
    parts.lasting.close()
    parts.lasting = whole
    expect(page.get_by_role("link", name="daily", exact=True)).to_be_visible()


def test_what_nobody_has_is_not_found_on_a_page_that_leads_on(window: Window) -> None:
    window.forgive("404")
    page = window.page
    page.goto("/runs?dag=daily")
    run = page.get_by_role("link", name="old").get_attribute("href")
    for path in ("/nowhere", "/dags/none", "/dags/none/graph", "/dags/none/trigger", "/runs/0123456789abcdef", f"{run}/tasks/none", f"{run}/logs/a/9",
                 "/pools/none", "/variables/none", "/connections/none/edit", "/workers/none", "/backfills/99", "/users/none/edit"):
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 404, path
        assert page.locator("main .alert-box p").first.inner_text(), path
        assert page.get_by_role("navigation", name="Main").is_visible(), path
