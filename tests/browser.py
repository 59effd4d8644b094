"""Chromium as people have it, what it says against a page, and what axe-core does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.profile import PATIENCE
from tests.services import needs

#: Debian's chromium: the one without a window of its own, which takes a third less of the processor, else the whole one.
PROGRAM = next((path for path in ("/usr/bin/chromium-headless-shell", "/usr/bin/chromium") if Path(path).exists()), "/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
#: axe-core (vendor/README.md).
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
#: What axe-core finds worse than "moderate": of each rule where it is broken, and how.
_SERIOUS = """(rules) => axe.run(document, {resultTypes: ["violations"], ...(rules.length ? {runOnly: rules} : {})}).then((all) => all.violations.filter((one) => ["serious", "critical"].includes(one.impact))
  .map((one) => `${one.id}: ` + one.nodes.slice(0, 4).map((node) => `${node.target} (${node.any[0]?.message ?? node.failureSummary})`).join("; ")))"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser; end it."""
    needs(Path(PROGRAM).name)
    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=PROGRAM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Window:
    """A window of its own session on the page at `base`; `wrong` is what it says in its console, and what goes elsewhere."""

    def __init__(self, browser: Browser, base: str, **options: Any) -> None:
        """Open it; `options` are those of the browser's contexts."""
        self.base = base
        self.wrong: list[str] = []
        self._forgiven: list[str] = []
        self.context: BrowserContext = browser.new_context(base_url=base, **{"viewport": {"width": 1200, "height": 700}, **options})
        self.context.set_default_timeout(PATIENCE * 1000)
        self.page: Page = self.context.new_page()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda asked: self.wrong.append(asked.url) if not asked.url.startswith((base, "data:")) else None)

    def _said(self, said: ConsoleMessage) -> None:
        if said.type in {"error", "warning"}:
            self.wrong.append(f"{said.text} ({said.location.get('url', '')} on {self.page.url})")

    def forgive(self, pattern: str) -> None:
        """Expect messages such as these: what a browser says of an answer 404 or of a server that is away."""
        self._forgiven.append(pattern)

    def complaints(self) -> list[str]:
        """Return what was said and was not expected."""
        return [said for said in self.wrong if not any(re.search(pattern, said) for pattern in self._forgiven)]

    def close(self) -> None:
        """Close it; it must have said nothing."""
        self.context.close()
        said = self.complaints()
        assert not said, "\n".join(said)


def serious(page: Page, *rules: str) -> list[str]:
    """Return what axe-core finds that is serious or critical, by these of its rules; none: by all of them."""
    # Through the debugger: the page's own policy refuses scripts of others.
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8") + "; undefined")
    found: list[str] = page.evaluate(_SERIOUS, list(rules))
    return found
