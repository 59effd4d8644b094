"""The page of a run in Chromium: what is chosen changes a piece of the page, what happens is seen, nothing else moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from rqflow.recorder.logpath import log_path
from rqflow.states import TaskState
from rqflow.store.runs import RunRecord
from tests.integration.broker import playing
from tests.integration.web.chromium import Window, chromium
from tests.integration.web.serving import served
from tests.integration.web.site import Site
from tests.unit.builders import a_task, a_version
from tests.waiting import until

#: Set once in a page: it is gone when another page was loaded.
MARK = "window.isTheSame = true"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def window(site: Site, browser: Browser) -> Iterator[Window]:
    with served(site.app) as base:
        made = Window(browser, base, site.browser("ann"), viewport={"width": 1300, "height": 700})
        yield made
        made.close()


def a_run(site: Site) -> RunRecord:
    tasks: dict[str, list[str]] = {"a": [], "b": ["a"], **{f"fan{n:02}": ["b"] for n in range(60)}, "g.end": ["b"]}
    run = site.hub.start(a_version(tasks, dag_id="live", specs=[a_task("g.end", group_id="g")], groups={"g": {}}))
    assert run.logical_date
    log = Path(site.settings.logs.folder, log_path("live", "a", run.logical_date, 1, run_key=run.run_key))
    log.parent.mkdir(parents=True)
    log.write_text("it says so\n")
    return run


def test_a_task_its_log_and_what_happens_are_seen_without_another_page(site: Site, window: Window) -> None:
    run, page = a_run(site), window.page
    claim, = playing.claim(site.hub.broker)
    page.goto(f"/runs/{run.run_key}?tab=timeline")
    page.evaluate(MARK)
    page.click(".run-rows a[data-task=a]")
    expect(page).to_have_url(f"{window.base}/runs/{run.run_key}/tasks/a?tab=timeline")
    page.click(".run-top .tabs >> text=Log")
    expect(page.locator(".log-text").first).to_have_text("it says so")
    expect(page).to_have_url(f"{window.base}/runs/{run.run_key}/tasks/a")
    expect(page.locator(".run-rows a[aria-current]")).to_have_attribute("data-task", "a")
    assert page.title().startswith("a · ")
    page.locator("#list").evaluate("(list) => { list.scrollTop = 400; }")
    playing.tell(site.hub.broker, playing.end(claim))
    expect(page.locator(".run-task-head .state")).to_have_text("success")
    expect(page.locator(".run-rows a[data-task=b]")).to_have_attribute("title", "b: queued")
    assert page.locator("#list").evaluate("(list) => list.scrollTop") == 400
    expect(page.locator(".run-rows a[aria-current]")).to_have_attribute("data-task", "a")
    page.go_back()
    expect(page.locator(".run-top .tabs [aria-current]")).to_have_text("Timeline")
    assert page.evaluate("window.isTheSame")


def test_the_list_is_narrowed_as_one_types_and_stays_so_when_something_happens(site: Site, window: Window) -> None:
    run, page = a_run(site), window.page
    page.goto(f"/runs/{run.run_key}?tab=params")
    page.evaluate(MARK)
    page.fill("#filter-q", "fan0")
    expect(page.locator(".run-rows > li")).to_have_count(10)
    playing.play(site.hub.broker, {"fan03": TaskState.FAILED})
    expect(page.locator(".run-rows a[data-task=fan03]")).to_have_attribute("title", "fan03: failed")
    expect(page.locator(".run-rows > li")).to_have_count(10)
    assert page.input_value("#filter-q") == "fan0"
    page.click(".run-states >> text=failed")
    expect(page.locator(".run-rows > li")).to_have_count(1)
    page.reload()
    expect(page.locator(".run-rows > li")).to_have_count(1)


def test_the_log_of_the_next_try_comes_in_the_place_of_the_one_before(site: Site, window: Window) -> None:
    run, page = site.hub.start(a_version(["a"], dag_id="again", specs=[a_task("a", retries=1, retry_delay=0.0)])), window.page
    page.goto(f"/runs/{run.run_key}/tasks/a")
    page.evaluate(MARK)
    expect(page.locator(".run-body")).to_contain_text("No log yet")
    for number in (1, 2):
        claim, = playing.claim(site.hub.broker)
        expect(page.locator(".log-frame")).to_have_attribute("data-log", f"/runs/{run.run_key}/logs/a/{number}")
        playing.tell(site.hub.broker, playing.end(claim, TaskState.UP_FOR_RETRY if number == 1 else TaskState.SUCCESS))
        site.hub.broker.move_due()
    expect(page.locator(".run-tries a[aria-current]")).to_contain_text("2")
    page.click(".run-tries >> text=1")
    expect(page.locator(".log-frame")).to_have_attribute("data-log", f"/runs/{run.run_key}/logs/a/1")
    expect(page.locator(".run-old")).to_contain_text("Try 1: up for retry")
    assert page.evaluate("window.isTheSame")


def painted(page: Page, name: str) -> str:
    """The classes of a node of the graph."""
    node = page.locator(".graph-states a", has_text=name).first.get_attribute("data-node")
    return page.locator(f"[id='{node}']").get_attribute("class") or ""


def test_the_graph_is_drawn_once_painted_live_and_leads_to_tasks(site: Site, window: Window) -> None:
    run, page = a_run(site), window.page
    page.goto(f"/runs/{run.run_key}")
    page.wait_for_selector("#graph-canvas svg .node.st-queued")
    page.evaluate(MARK)
    page.evaluate("document.querySelector('#graph-canvas svg').isOld = true")
    assert page.locator("#graph-canvas .node").count() == 4
    claim, = playing.claim(site.hub.broker)
    until(lambda: "st-running" in painted(page, "a"), what="the node to be painted")
    page.click("#graph-canvas .node.st-running")
    expect(page).to_have_url(f"{window.base}/runs/{run.run_key}/tasks/a?tab=graph")
    expect(page.locator(".run-task-head h2")).to_have_text("a")
    expect(page.locator("#graph-canvas .node.chosen")).to_have_count(1)
    assert page.evaluate("document.querySelector('#graph-canvas svg').isOld")
    with page.expect_download() as kept:
        page.click("[data-graph-do=png]")
    assert Path(kept.value.path()).read_bytes().startswith(b"\x89PNG")
    with page.expect_download() as kept:
        page.click("[data-graph-do=svg]")
    assert "<svg" in Path(kept.value.path()).read_text()
    page.locator("#graph-canvas .node", has_text="fan").click()
    expect(page.locator("#graph-canvas .node")).to_have_count(63)
    assert page.evaluate("window.isTheSame")
    playing.tell(site.hub.broker, playing.end(claim))
    until(lambda: "st-success" in painted(page, "a"), what="the end to be painted")


def test_a_clear_is_previewed_refused_and_done_in_a_dialog(site: Site, window: Window) -> None:
    run, page = a_run(site), window.page
    playing.play(site.hub.broker, {"b": TaskState.FAILED})
    site.hub.record()
    page.goto(f"/runs/{run.run_key}/tasks/b?tab=details")
    page.click(".run-deeds >> text=Clear…")
    expect(page.locator("dialog .confirm-foot .btn-primary")).to_have_text("Run 62 tasks again")
    page.click("dialog >> text=what depends on it")
    expect(page.locator("dialog .confirm-foot .btn-primary")).to_have_text("Run 1 task again")
    other = site.browser("bob")
    shown = other.get(f"/runs/{run.run_key}/clear?task=b&chosen=1")
    assert other.post(f"/runs/{run.run_key}/clear", data={"task": "b"}).status_code == 303, shown.text
    page.click("dialog .confirm-foot .btn-primary")
    expect(page.locator("dialog .alert-bad")).to_contain_text("bob cleared tasks of this run")
    page.click("dialog .confirm-foot .btn-primary")
    expect(page.locator(".flash")).to_contain_text("b runs again.")
    expect(page.locator(".run-task-head .state")).to_have_text("queued")
    window.wrong = [said for said in window.wrong if "409" not in said]


def test_everything_is_links_and_forms_without_scripts(site: Site, browser: Browser) -> None:
    run = a_run(site)
    playing.play(site.hub.broker, {"b": TaskState.FAILED})
    site.hub.record()
    with served(site.app) as base:
        window = Window(browser, base, site.browser("ann"), java_script_enabled=False)
        page = window.page
        page.goto(f"/runs/{run.run_key}")
        page.click(".graph-list summary")
        page.click(".run-rows a[data-task=b]")
        page.click(".tabs >> text=Details")
        expect(page.locator(".run-body")).to_contain_text("Try 1 of 1")
        page.fill("#filter-q", "fan0")
        page.click(".run-filters button")
        expect(page.locator(".run-rows > li")).to_have_count(10)
        expect(page.locator(".run-task-head h2")).to_have_text("b")
        page.click(".run-deeds >> text=Clear…")
        page.uncheck("input[name=downstream]")
        page.click("text=Show what that means")
        page.click("text=Run 1 task again")
        expect(page.locator(".flash")).to_contain_text("b runs again.")
        window.close()
