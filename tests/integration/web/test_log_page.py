"""The log of a try in Chromium: what is seen is what the file has, also while it grows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.integration.web.chromium import Window, chromium
from tests.integration.web.serving import served
from tests.integration.web.site import Site
from tests.integration.web.test_logs import ODD, Written
from tests.waiting import until

SHOWN = "[...document.querySelectorAll('.log-text')].map(one => one.textContent)"
NUMBERS = "[...document.querySelectorAll('.log-no')].map(one => one.textContent)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def window(site: Site, browser: Browser) -> Iterator[Window]:
    with served(site.app) as base:
        made = Window(browser, base, site.browser("ann"))
        yield made
        made.close()


def in_sight(window: Window) -> list[int]:
    """The numbers of the lines that are in sight."""
    found: list[int] = window.page.evaluate("""() => {
        const box = document.querySelector('.log').getBoundingClientRect();
        return [...document.querySelectorAll('.log-line')].filter((line) => {
            const at = line.getBoundingClientRect();
            return at.height && at.top >= box.top - 1 && at.bottom <= box.bottom + 1;
        }).map((line) => Number(line.id.slice(1)));
    }""")
    return found


def test_r55_the_text_of_the_page_is_the_bytes_of_the_file_while_it_grows(site: Site, window: Window) -> None:
    log = Written(site, running=True)
    page = window.page
    page.goto(log.url)
    page.wait_for_selector("text=Nothing yet.")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    text = "".join(f"line {number} <b>&amp;</b> ä\n" for number in range(1, 2501)) + "the open"
    data = text.encode()
    for at in range(0, len(data), 9_973):
        log.write(data[at:at + 9_973])
        page.wait_for_timeout(30)
    until(lambda: page.evaluate(SHOWN) == text.split("\n"), what="the page to show all of the file")
    log.write(b" line\nends\n")
    until(lambda: page.evaluate(SHOWN) == [*text.split("\n")[:-1], "the open line", "ends"], what="the last line to go on")
    assert page.evaluate(NUMBERS) == [str(number) for number in range(1, 2503)]
    assert in_sight(window)[-1] == 2502
    # Nothing was got again: all came by the stream.
    assert [url for url in asked if "format=block" in url] == []
    assert "exit 1" not in page.inner_text(".log-end")
    log.end()
    log.write(b"rqflow: exit code 1\n", is_whole=True)
    page.wait_for_selector(".log-end:not([hidden]) >> text=exit 1 after")
    assert "on node7, max RSS 2.1 GB" in page.inner_text(".log-end")
    assert page.evaluate(SHOWN)[-1] == "rqflow: exit code 1"


def test_the_rest_of_a_log_comes_by_itself_also_when_the_try_has_ended_before(site: Site, window: Window) -> None:
    log = Written(site)
    page = window.page
    page.goto(log.url)
    page.wait_for_selector("text=The log is on its way here.")
    log.write(b"one\n")
    until(lambda: page.evaluate(SHOWN) == ["one"], what="the first line")
    log.write(b"rqflow: exit code 1\n", is_whole=True)
    until(lambda: page.evaluate(SHOWN) == ["one", "rqflow: exit code 1"], what="the last line")
    page.wait_for_selector(".log-frame:not([data-grows])")
    assert "exit 1 after" in page.inner_text(".log-end")


def test_who_scrolls_up_is_left_alone_until_they_jump_to_the_end(site: Site, window: Window) -> None:
    log = Written(site, running=True)
    log.write(b"".join(b"line %d\n" % number for number in range(1, 301)))
    page = window.page
    page.goto(log.url)
    page.wait_for_selector("#L300")
    assert in_sight(window)[-1] == 300
    page.hover(".log")
    page.mouse.wheel(0, -2000)
    page.wait_for_selector(".log-jump:visible")
    page.wait_for_timeout(100)
    page.dblclick("#L180 .log-text") if page.locator("#L180").is_visible() else None
    before, chosen = in_sight(window), page.evaluate("String(getSelection())")
    log.write(b"".join(b"more %d\n" % number for number in range(100)))
    page.wait_for_selector("text=100 new lines")
    assert (in_sight(window), page.evaluate("String(getSelection())")) == (before, chosen)
    page.click(".log-jump")
    until(lambda: in_sight(window)[-1] == 400, what="the end")
    log.write(b"last\n")
    until(lambda: in_sight(window)[-1] == 401, what="the end to be followed")
    assert page.locator(".log-jump").is_hidden()


def test_a_long_log_is_read_up_and_down_in_blocks_and_lines_are_linked_to(site: Site, window: Window) -> None:
    log = Written(site)
    log.write(b"".join(b"line %d\n" % number for number in range(1, 100_001)), is_whole=True)
    page = window.page
    page.goto(log.url)
    page.wait_for_selector("#L100000")
    assert page.locator(".log-line").count() == 1000
    page.evaluate("document.querySelector('.log').scrollTop = 0")
    until(lambda: page.locator(".log-line").count() == 2000, what="the block before")
    assert abs(in_sight(window)[0] - 99_001) < 3
    page.goto("about:blank")
    page.goto(f"{log.url}#L50120-L50140")
    page.wait_for_selector("#L50120.chosen")
    assert page.locator(".log-line.chosen").count() == 21
    assert page.inner_text("#L50120 .log-text") == "line 50120"
    assert {50_120, 50_130} <= set(in_sight(window))
    page.locator("#L50125 .log-no").click()
    page.locator("#L50128 .log-no").click(modifiers=["Shift"])
    assert page.url.endswith("#L50125-L50128")
    page.evaluate("document.querySelector('.log').scrollTop = 1e9")
    until(lambda: page.locator("#L51919").count() == 1, what="the block behind")
    shown = page.evaluate(SHOWN)
    first = int(shown[0].removeprefix("line "))
    assert shown == [f"line {number}" for number in range(first, first + len(shown))]


def test_what_is_found_is_counted_and_gone_to_and_errors_too(site: Site, window: Window) -> None:
    log = Written(site)
    lines = [f"line {number}{' NEEDLE' * (number % 1000 == 0)}{' ERROR it broke' * (number in {7, 9500})}\n" for number in range(1, 10_001)]
    log.write("".join(lines).encode(), is_whole=True)
    page = window.page
    page.goto(log.url)
    page.keyboard.press("f")
    page.keyboard.type("needle")
    page.wait_for_selector(".log-count >> text=10")
    page.keyboard.press("Enter")
    page.wait_for_selector("#L1000.here")
    assert page.inner_text(".log-count") == "1 of 10"
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector("#L10000.here")
    assert page.inner_text(".log-count") == "10 of 10"
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    page.wait_for_selector("#L7.here.error")
    page.keyboard.press("e")
    page.wait_for_selector("#L9500.here.error")
    assert page.inner_text("[data-do=error]").strip() == "Error 2 of 2"


def test_what_a_task_prints_is_text_whatever_it_is(site: Site, window: Window) -> None:
    log = Written(site)
    log.write(ODD + b"\x1b]8;;javascript:alert(1)\x07click\x1b]8;;\x07\n\x1b[1;32m<img src=x onerror=alert(1)>\nstill\x1b[0m not\n"
              b"::group::Set up <i>\ninside\n::endgroup::\nafter\n", is_whole=True)
    page = window.page
    asked: list[str] = []
    page.on("dialog", lambda dialog: asked.append(dialog.message))
    page.goto(log.url)
    page.wait_for_selector(".ansi-red-fg")
    assert page.evaluate(SHOWN)[:5] == ["<script>alert(1)</script> & \ufffd\ufffd \u2400 red ", " 99%", "click", "<img src=x onerror=alert(1)>", "still not"]
    assert page.inner_text(".log-line:nth-child(5) .ansi-green-fg") == "still"
    assert page.locator(".log img, .log script, .log i, .log-text a").count() == 0
    assert page.inner_text(".log-fold") == "Set up <i>"
    assert page.locator("text=inside").is_hidden()
    page.click(".log-fold")
    assert page.locator("text=inside").is_visible()
    page.click("[data-do=times]")
    assert page.locator(".log-at").first.inner_text().startswith("20")
    page.keyboard.press("s")
    assert page.locator(".log-at").first.inner_text().startswith("+")
    assert asked == []


def test_a_log_is_read_without_scripts(site: Site, browser: Browser) -> None:
    log = Written(site)
    log.write(b"".join(b"line %d\n" % number for number in range(1, 2001)) + b"\x1b[31mred\x1b[0m\n", is_whole=True)
    with served(site.app) as base:
        window = Window(browser, base, site.browser("ann"), java_script_enabled=False)
        page = window.page
        page.goto(log.url)
        assert page.inner_text("#L2001 .log-text") == "red"
        assert page.locator("[data-do=error]").is_hidden()
        page.click("text=Earlier lines")
        assert page.locator("#L1000").inner_text().endswith("line 1000")
        page.click("text=from the beginning")
        assert page.locator("#L1").is_visible()
        window.close()
