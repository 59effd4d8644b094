"""Chromium as people have it, and what it says against a page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from starlette.testclient import TestClient

from rqflow.web import signin
from tests.profile import PATIENCE
from tests.web_sheet.look import FLAGS


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser; end it."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Window:
    """A window in which somebody is logged in; `wrong` is what it says in its console, and what goes elsewhere."""

    def __init__(self, browser: Browser, base: str, person: TestClient, **options: object) -> None:
        self.base = base
        self.wrong: list[str] = []
        self.context: BrowserContext = browser.new_context(base_url=base, **{"viewport": {"width": 1200, "height": 700}, **options})  # type: ignore[arg-type]
        self.context.set_default_timeout(PATIENCE * 1000)
        self.context.add_cookies([{"name": signin.PLAIN, "value": person.cookies[signin.PLAIN], "url": base}])
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda said: self.wrong.append(said.text) if said.type in {"error", "warning"} else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda asked: self.wrong.append(asked.url) if not asked.url.startswith((base, "data:")) else None)

    def close(self) -> None:
        """Close it; it must have said nothing."""
        self.context.close()
        assert self.wrong == []
