"""The pages of DAGs in a browser: keys, groups, what is live, suggestions, the graph; and nothing in the console."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from rqflow.actions import submit
from rqflow.states import TaskState
from tests.integration.broker import playing
from tests.integration.web.chromium import Window, chromium
from tests.integration.web.serving import served
from tests.integration.web.site import Site
from tests.unit.builders import a_task, a_version

VERSION = a_version({"first": [], "g.a": ["first"], "last": ["g.a"]}, specs=[a_task("g.a", group_id="g")],
                    groups={"g": {"parent": None, "tooltip": ""}}, dag_id="grouped", tags=("ngs",))


@pytest.fixture
def tab(site: Site) -> Iterator[Page]:
    """A tab, in which nothing may be complained of."""
    for day in range(3):
        site.hub.start(VERSION, day=day)
        playing.play(site.hub.broker, {"g.a": TaskState.FAILED} if day == 1 else {})
    with served(site.app) as url, chromium() as browser:
        window = Window(browser, url, site.browser("ann"))
        window.forgive("409.*/dags/late/paused")
        yield window.page
        window.close()


def test_dags_are_looked_through_with_keys_and_what_changes_is_seen(tab: Page, site: Site) -> None:
    tab.goto("/dags/grouped")
    tab.locator("#grid-table tr:has(th[data-task=first]) td a").nth(1).focus()
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("ArrowDown")
    expect(tab.locator(".tip b")).to_have_text("g.a")
    expect(tab.locator(".tip")).to_contain_text("failed")
    tab.locator("#grid-table button[value=g]").click()
    expect(tab.locator("#grid-table tbody tr")).to_have_count(3)
    assert tab.url.endswith("?fold=none&but=g")
    expect(tab.locator("#grid-table button[value=g]")).to_be_focused()

    site.hub.start(VERSION, day=3)
    expect(tab.locator("#grid-table thead th[data-run]")).to_have_count(4)
    expect(tab.locator("#grid-table tbody tr")).to_have_count(3)

    tab.keyboard.press("Control+k")
    tab.keyboard.type("last")
    expect(tab.locator("#suggestions a").first).to_be_visible()
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/dags/grouped/durations?task=last")

    tab.goto("/dags/grouped/graph")
    expect(tab.locator(".graph-canvas svg g.node")).to_have_count(3)
    tab.goto("/dags")
    tab.evaluate("window.same = true")
    tab.locator("button[role=switch]").click()
    expect(tab.locator("#toasts .flash")).to_contain_text("grouped is paused now.")
    expect(tab.get_by_role("switch", name="Paused: let grouped go on")).not_to_be_checked()
    assert tab.evaluate("window.same")

    late = a_version(dag_id="late", schedule="@daily", start_date="2024-01-01T00:00:00+00:00", catchup=True)
    submit.register(site.hub.broker, site.engine, [late], paused_at_creation=True)
    tab.goto("/dags")
    tab.get_by_role("switch", name="Paused: let late go on").click()
    expect(tab.locator("h1")).to_have_text("Let late go on")
    tab.get_by_role("button", name="Let it go on").click()
    expect(tab.locator("main .flash")).to_contain_text("late is active now.")
    tab.locator("#dag-grouped a[data-dialog]").click()
    expect(tab.locator("#dialog-title")).to_have_text("Start a run of grouped")
