"""Every page in Chromium: nothing is wrong with it for people who use a keyboard or a screen reader, and whatever a text says is shown as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import serious
from tests.integration.web.chromium import Window, chromium
from tests.integration.web.serving import served
from tests.integration.web.site import Site
from tests.integration.web.world import World, fill

#: What does something where it is no text: in HTML, in an attribute, in a template, in a text area, in a title, and what turns the rest around.
PROBE = "</textarea></title><script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}\u202e"
#: Beginnings of addresses of what the world has not.
MISSING = ("/setup/", "/notices/")
#: Rules of axe-core whose answer depends on theme and width.
LOOKS = ("color-contrast", "link-in-text-block", "scrollable-region-focusable")
#: The same for names, which stand in addresses and have less room.
NAME = "<script>alert(1)<!--\"'><img src=x onerror=alert(2)>{{7*7}}"
NAMES = {"dag_id", "task id", "second task id", "third task id", "group", "queue", "host", "key", "conn_id", "first run id", "run id", "conf run id"}
#: A pool's name has 50 characters, and what is no mail address is refused.
OTHERS = {"pool": "\"'><img src=x onerror=alert(2)>{{7*7}}", "email": "b"}


def probe(name: str) -> str:
    """A text for a field of this name that would do something where it is no text."""
    return OTHERS.get(name) or f"{name[:8]}{NAME if name in NAMES else PROBE}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def pages(world: World) -> dict[str, str]:
    """The addresses that answer with HTML; for a file of HTML with its text. None answers with a fault."""
    client = world.site.browser("ann")
    found: dict[str, str] = {}
    wrong = []
    for address in world.addresses():
        answer = client.get(address)
        if answer.status_code >= 400:
            if not address.startswith(MISSING):
                wrong.append((address, answer.status_code, re.findall(r"<p>.*", answer.text)[:1]))
        elif answer.headers.get("content-type", "").startswith("text/html"):
            found[address] = answer.text if "attachment" in answer.headers.get("content-disposition", "") else ""
    assert wrong == [], wrong
    return found


def show(page: Page, address: str, text: str) -> None:
    """Show a page, or a file in its place."""
    if text:
        page.goto("about:blank")  # where no policy of ours helps
        page.set_content(text)
    else:
        page.goto(address)


def wrong_with(page: Page) -> Iterator[str]:
    """What is wrong with the page that is shown, in both themes, wide and narrow."""
    made = page.evaluate("document.querySelectorAll('script:not([src]), img[src=x], a[href^=\"javascript:\" i], [onerror]').length")
    if made:
        yield "a text has made elements"
    for theme, width, rules in (("light", 1440, ()), ("dark", 390, LOOKS)):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]  # both are names that it knows
        for said in serious(page, *rules):
            yield f"{theme} {width}: {said}"
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            yield f"{theme} {width}: scrolls sideways"


@pytest.mark.timeout(150)
def test_texts_are_shown_as_text_and_axe_finds_nothing_serious_on_any_page(site: Site, browser: Browser) -> None:
    found = pages(fill(site, probe))
    assert len(found) > 70
    seen, wrong = 0, []
    with served(site.app) as base:
        window = Window(browser, base, site.browser("ann"))
        window.forgive("404.*/of_nobody")
        page = window.page
        page.on("dialog", lambda dialog: (window.wrong.append(f"{page.url}: {dialog.message}"), dialog.dismiss()))
        for address, text in {**found, "/dags/of_nobody": ""}.items():
            page.set_viewport_size({"width": 1440, "height": 900})
            page.emulate_media(color_scheme="light")
            show(page, address, text)
            wrong += [f"{unquote(address)}: {said}" for said in wrong_with(page)]
            shown = page.evaluate("document.body.innerText + [...document.querySelectorAll('input, textarea')].map((one) => one.value).join(' ')")
            # A template that was rendered twice would have calculated.
            assert set(re.findall(r"onerror=alert\(2\)>(\S{7})", shown)) <= {"{{7*7}}"}, address
            seen += "<script>alert(1)" in shown
        window.close()
    assert wrong == [], "\n".join(wrong)
    assert seen > len(found) * 0.7
