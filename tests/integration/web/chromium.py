"""A window of Chromium in which somebody is logged in."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Browser
from starlette.testclient import TestClient

from rqflow.web import signin
from tests import browser as browsers
from tests.browser import chromium

__all__ = ["Window", "chromium"]


class Window(browsers.Window):
    """A window in which `person` is logged in."""

    def __init__(self, browser: Browser, base: str, person: TestClient, **options: Any) -> None:
        """Open it."""
        super().__init__(browser, base, **options)
        self.context.add_cookies([{"name": signin.PLAIN, "value": person.cookies[signin.PLAIN], "url": base}])
