"""Pictures of the sheet in light and dark, wide and narrow, and what axe-core says of it: `python -m tests.web_sheet.look URL FOLDER [axe.min.js]`."""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import ConsoleMessage

from tests.browser import chromium

PAGES = {"sheet": "/", "split": "/split", "page": "/dialog", "bare": "/dialog?bare=1", "login": "/login"}


def main(url: str, folder: str, axe: str = "") -> int:
    """Write the pictures; return how many things were wrong."""
    wrong: list[str] = []
    with chromium() as browser:
        for theme in ("light", "dark"):
            for width, height in ((1440, 900), (390, 844)):
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme, bypass_csp=False)
                tab = context.new_page()

                def heard(message: ConsoleMessage) -> None:
                    if message.type in {"error", "warning"}:
                        wrong.append(f"console: {message.text}")
                tab.on("console", heard)
                tab.on("pageerror", lambda error: wrong.append(f"error: {error}"))
                for name, path in PAGES.items():
                    tab.goto(url + path, wait_until="load")
                    tab.wait_for_timeout(200)
                    tab.screenshot(path=str(Path(folder) / f"{name}-{theme}-{width}.png"), full_page=name != "split")
                    if tab.evaluate("document.documentElement.scrollWidth > innerWidth"):
                        wrong.append(f"{name} at {width} px scrolls sideways")
                    if axe:
                        # Through the debugger: the page's own policy refuses scripts of others.
                        tab.evaluate(Path(axe).read_text(encoding="utf-8") + "; undefined")
                        for found in tab.evaluate("axe.run().then(all => all.violations)"):
                            nodes = [f"{node['target']}: {node['any'][0]['message'] if node['any'] else ''}" for node in found["nodes"][:4]]
                            wrong.append(f"axe {name} {theme} {width}: {found['impact']} {found['id']} {nodes}")
                if width == 1440:
                    tab.goto(url + "/")
                    tab.click("a[data-dialog] >> nth=0")
                    tab.wait_for_selector("dialog[open] .confirm")
                    tab.wait_for_timeout(150)
                    tab.screenshot(path=str(Path(folder) / f"dialog-{theme}.png"))
                    tab.keyboard.press("Escape")
                    tab.click(".top .menu summary")
                    tab.screenshot(path=str(Path(folder) / f"menu-{theme}.png"), clip={"x": 900, "y": 0, "width": 540, "height": 320})
                else:
                    tab.goto(url + "/")
                    tab.click(".top-menu")
                    tab.wait_for_timeout(100)
                    tab.screenshot(path=str(Path(folder) / f"nav-{theme}.png"))
                context.close()
    sys.stdout.write("\n".join(dict.fromkeys(wrong or ["nothing wrong"])) + "\n")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(bool(main(*sys.argv[1:])))
