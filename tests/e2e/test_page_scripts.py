"""The frame of every page in a real browser, on the sheet of all components: what its scripts do, and what works without them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import Window, chromium


@pytest.fixture(scope="module")
def sheet() -> Iterator[str]:
    """The URL of the sheet."""
    with subprocess.Popen([sys.executable, "-m", "tests.web_sheet.app", "0"], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def tab(browser: Browser, sheet: str) -> Iterator[Page]:
    """A tab in Tokyo that shows the sheet; what the browser complains of fails the test."""
    window = Window(browser, sheet, viewport={"width": 1440, "height": 900}, timezone_id="Asia/Tokyo", color_scheme="light")
    window.page.goto(sheet)
    yield window.page
    window.close()


def test_the_theme_is_kept_and_there_before_the_page_is_drawn(tab: Page) -> None:
    html = tab.locator("html")
    expect(html).to_have_attribute("data-bs-theme", "light")
    tab.keyboard.press("t")
    tab.keyboard.press("t")
    expect(html).to_have_attribute("data-bs-theme", "dark")
    tab.reload(wait_until="commit")
    tab.wait_for_selector("body", state="attached")
    assert tab.evaluate("document.documentElement.dataset.bsTheme") == "dark"


def test_times_are_in_utc_or_in_the_zone_of_who_looks(tab: Page) -> None:
    clock = tab.locator("#trial time span")
    utc = clock.inner_text()
    tab.click("[data-zone-switch]")
    expect(clock).not_to_have_text(utc)
    hours = (int(clock.inner_text()[11:13]) - int(utc[11:13])) % 24
    assert hours == 9
    expect(tab.locator("[data-zone-name]")).to_have_text("Tokyo")


def test_a_fragment_is_got_anew_and_what_was_selected_in_it_stays(tab: Page) -> None:
    tab.evaluate("""() => {
        window.before = document.querySelector("#trial");
        const text = document.querySelector("#trial time span").firstChild;
        getSelection().setBaseAndExtent(text, 0, text, 10);
    }""")
    tab.wait_for_selector("#count")
    number = int(tab.inner_text("#count"))
    tab.wait_for_function("number => Number(document.querySelector('#count').textContent) > number", arg=number)
    assert tab.evaluate("window.before === document.querySelector('#trial')")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", tab.evaluate("getSelection().toString()"))


def test_a_link_opens_its_page_in_a_dialog_and_its_form_leads_to_the_message_of_what_was_done(tab: Page) -> None:
    tab.click("a[data-dialog] >> nth=0")
    expect(tab.locator("#dialog-title")).to_have_text("Clear 3 tasks of rnaseq")
    tab.keyboard.press("Escape")
    expect(tab.locator("#dialog")).not_to_be_visible()
    tab.click("a[data-dialog] >> nth=0")
    tab.click("dialog button.btn-danger")
    expect(tab.locator("main .flash")).to_have_text("3 tasks of rnaseq run again.")
    tab.reload()
    expect(tab.locator("main .flash")).to_have_count(0)


def test_keys_search_move_over_rows_and_tell_which_there_are(tab: Page) -> None:
    tab.keyboard.press("j")
    tab.keyboard.press("j")
    expect(tab.locator("a[href='/dags/x1']")).to_be_focused()
    tab.keyboard.press("?")
    expect(tab.locator("#shortcuts")).to_be_visible()
    tab.keyboard.press("Escape")
    tab.keyboard.press("Control+k")
    expect(tab.locator("#search")).to_be_focused()


def test_the_bar_of_a_split_screen_moves_and_stays_where_it_was_put(tab: Page, sheet: str) -> None:
    tab.goto(f"{sheet}/split")
    width = "document.querySelector('.split-list').getBoundingClientRect().width"
    before = tab.evaluate(width)
    tab.focus(".split-bar")
    tab.keyboard.press("ArrowRight")
    after = tab.evaluate(width)
    assert after == pytest.approx(before + 24, abs=1)
    tab.reload()
    assert tab.evaluate(width) == after


def test_all_of_graphviz_runs_under_the_policy_of_the_page(tab: Page) -> None:
    tab.evaluate("url => new Promise(done => { const one = document.createElement('script'); one.src = url; one.onload = done; document.head.append(one); })",
                 tab.evaluate("document.querySelector('script[src*=htmx]').src").replace("htmx.min.js", "viz-global.js"))
    assert tab.evaluate("Viz.instance().then(viz => viz.renderSVGElement('digraph { a -> b }').querySelectorAll('.node').length)") == 2


@pytest.mark.parametrize("width", [1440, 390])
def test_no_page_scrolls_sideways(tab: Page, sheet: str, width: int) -> None:
    tab.set_viewport_size({"width": width, "height": 844})
    for path in ("/", "/split", "/dialog", "/dialog?bare=1"):
        tab.goto(sheet + path)
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


def test_without_scripts_menus_open_and_forms_work(browser: Browser, sheet: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, java_script_enabled=False)
    tab = context.new_page()
    tab.goto(sheet)
    tab.click(".top-menu")
    expect(tab.locator(".nav-side a[href='/dags']")).to_be_visible()
    tab.click(".nav-close")
    tab.click(".top .menu summary")
    expect(tab.get_by_role("button", name="Log out")).to_be_visible()
    assert not tab.locator(".js-only:visible").count()
    tab.goto(sheet)
    tab.click("a[data-dialog] >> nth=0")
    tab.click("text=Clear 3 tasks >> nth=-1")
    expect(tab.locator("main .flash")).to_have_text("3 tasks of rnaseq run again.")
    context.close()
