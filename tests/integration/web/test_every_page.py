"""Every page in Chromium: nothing is wrong with it for people who use a keyboard or a screen reader, and whatever a text says is shown as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

import pytest
from playwright.sync_api import Browser, Error, Page
from starlette.testclient import TestClient

from tests.integration.web.chromium import Window, chromium
from tests.integration.web.serving import served
from tests.integration.web.site import Site
from tests.integration.web.world import fill
from tests.looks import Looks

#: What does something where it is no text: in HTML, in an attribute, in a template, in a text area, in a title, and what turns the rest around.
PROBE = "</textarea></title><script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}\u202e"
#: Beginning of an address that nothing has.
NOTHING = "/nothing/"
#: How many elements a text has made, and all that is there to be read.
SEEN = """() => [document.querySelectorAll('script:not([src]), img[src=x], a[href^="javascript:" i], [onerror]').length,
  document.body.innerText + [...document.querySelectorAll('input, textarea')].map((one) => one.value).join(' ')]"""
#: The same for names, which stand in addresses and have less room.
NAME = "<script>alert(1)<!--\"'><img src=x onerror=alert(2)>{{7*7}}"
NAMES = {"dag_id", "task id", "second task id", "third task id", "group", "queue", "host", "key", "conn_id", "first run id", "run id", "conf run id", "label",
         "release"}
#: A pool's name has 50 characters, and what is no mail address is refused.
OTHERS = {"pool": "\"'><img src=x onerror=alert(2)>{{7*7}}", "email": "b"}


def probe(name: str) -> str:
    """A text for a field of this name that would do something where it is no text."""
    return OTHERS.get(name) or f"{name[:8]}{NAME if name in NAMES else PROBE}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def show(page: Page, address: str, person: TestClient) -> bool:
    """Show a page, or a file of HTML; False for what is neither. None answers with a fault."""
    try:
        answer = page.goto(address)
        assert answer is not None
        status, kind = answer.status, answer.headers.get("content-type", "")
    except Error as error:
        if "Download is starting" not in str(error):
            raise
        file = person.get(address)
        status, kind = file.status_code, file.headers["content-type"]
        page.goto("about:blank")  # where no policy of ours helps
        page.set_content(file.text if kind.startswith("text/html") else "")
    assert status == (404 if address.startswith(NOTHING) else 200), (address, status)
    return kind.startswith("text/html")


def wrong_with(page: Page, looks: Looks, theme: str, width: int) -> Iterator[str]:
    """What is wrong with the page that is shown in this theme and width."""
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]  # a name that it knows
    for said in looks.wrong(page, theme, whole=theme == "light"):
        yield f"{theme} {width}: {said}"
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        yield f"{theme} {width}: scrolls sideways"


@pytest.mark.timeout(240)
def test_texts_are_shown_as_text_and_axe_finds_nothing_serious_on_any_page(site: Site, browser: Browser) -> None:
    world = fill(site, probe)
    shown, probed, wrong = 0, 0, []
    # Each page begins with what the last one ended with.
    modes = [("light", 1440), ("dark", 390)]
    with served(site.app) as base:
        window = Window(browser, base, site.browser("ann"))
        window.forgive(f"404.*{NOTHING}")
        page, looks = window.page, Looks(window.context)
        page.on("dialog", lambda dialog: (window.wrong.append(f"{page.url}: {dialog.message}"), dialog.dismiss()))
        person = site.browser("ann")
        for address in world.addresses():
            if not show(page, address, person):
                continue
            made, text = page.evaluate(SEEN)
            for mode in modes:
                wrong += [f"{unquote(address)}: {said}" for said in wrong_with(page, looks, *mode)]
            modes.reverse()
            if made:
                wrong.append(f"{unquote(address)}: a text has made elements")
            # A template that was rendered twice would have calculated.
            assert set(re.findall(r"onerror=alert\(2\)>(\S{7})", text)) <= {"{{7*7}}"}, address
            shown, probed = shown + 1, probed + ("<script>alert(1)" in text)
        window.close()
    assert wrong == [], "\n".join(wrong)
    assert shown > 70
    assert probed > shown * 0.7
