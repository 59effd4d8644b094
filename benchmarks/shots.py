"""Pictures of every page, light and dark, wide and narrow: `python -m benchmarks.shots FOLDER`, for people who look at them.

Of a hub with the three DAGs of examples/, and, with `--large`, of one with 200 DAGs of 1,000 runs each, one of them of 1,000 tasks (or of what
`--attach` names, as another `page_data --keep` has it). `--readme` makes the pictures of README.md, into docs/images.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Page

from benchmarks import page_data
from benchmarks.browsing import served
from benchmarks.demo_hub import Hub, demo
from tests.browser import Window, chromium

THEMES, WIDTHS = ("light", "dark"), (1440, 390)
#: Pixels of a picture's height; what is below is not looked at where a page is longer.
TALLEST = 2600
IMAGES = Path(__file__).parents[1] / "docs" / "images"


def _at_once(_: Page) -> None:
    """Wait for nothing."""


def _drawn(page: Page) -> None:
    """Wait for the graph."""
    page.locator("[data-graph] svg").first.wait_for()


def _read(page: Page) -> None:
    """Wait for the log."""
    page.locator(".log-text").first.wait_for()


#: Pictures of README.md: name, page, theme, and what is done before it is taken.
README: tuple[tuple[str, str, str, Callable[[Page], None]], ...] = (
    ("home", "home", "light", _at_once),
    ("dags", "dags", "light", _at_once),
    ("grid", "grid-open", "light", _at_once),
    ("run", "run-failed", "light", _read),
    ("graph", "graph", "light", _drawn),
    ("dark", "run-live", "dark", _drawn),
)


@contextmanager
def _large(asked: argparse.Namespace) -> Iterator[Hub]:
    """Run a web server on the world of page_data."""
    with page_data.world_of(asked) as world, served(world) as where:
        dag, task = f"/dags/{page_data.WIDE}", quote(f"{page_data.STEPS[2]}.s017")
        wide, live = f"/runs/{world.wide_run}", f"/runs/{world.live_run}"
        yield Hub(url=where.url, cookie=where.cookie, pages={
            "home": "/", "dags": "/dags", "grid": dag, "grid-open": f"{dag}?fold=none", "grid-100": f"{dag}?runs=100", "graph": f"{dag}/graph",
            "durations": f"{dag}/durations", "durations-task": f"{dag}/durations?task={task}", "dag-runs": f"{dag}/runs", "code": f"{dag}/code",
            "details": f"{dag}/details", "runs": "/runs", "runs-failed": "/runs?state=failed", "run": wide,
            "run-timeline": f"{wide}?tab=timeline", "run-live": live, "run-live-timeline": f"{live}?tab=timeline",
            "task": f"{live}/tasks/{task}", "task-graph": f"{live}/tasks/{task}?tab=graph", "clear": f"{wide}/clear", "delete": f"{dag}/delete",
            "workers": "/workers", "health": "/health", "audit": "/audit", "search": "/search?q=align",
        })


def take(hub: Hub, folder: Path, only: str = "") -> list[str]:
    """Write a picture of each page; return what was wrong: words of the browser, pages that scroll sideways."""
    folder.mkdir(parents=True, exist_ok=True)
    wrong: list[str] = []
    with chromium() as browser:
        for theme in THEMES:
            for width in WIDTHS:
                window = Window(browser, hub.url, color_scheme=theme, viewport={"width": width, "height": 900 if width > 600 else 844})
                window.forgive("404.*/(dags/none|nothing)|422.*sort=zebra")
                for name, address in hub.strangers.items():
                    if only in name:
                        _picture(window.page, address, folder / f"{name}-{theme}-{width}.png")
                _enter(window, hub)
                for name, address in hub.pages.items():
                    if only in name:
                        _picture(window.page, address, folder / f"{name}-{theme}-{width}.png")
                        if window.page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                            wrong.append(f"{name} at {width} px scrolls sideways")
                wrong += window.complaints()
                window.context.close()
    return wrong


def _enter(window: Window, hub: Hub) -> None:
    name, _, value = hub.cookie.partition("=")
    window.context.add_cookies([{"name": name, "value": value, "url": hub.url}])


def _picture(page: Page, address: str, file: Path) -> None:
    page.goto(address)
    page.wait_for_timeout(400)
    height = min(int(page.evaluate("document.documentElement.scrollHeight")), TALLEST)
    size = page.viewport_size
    assert size
    page.screenshot(path=str(file), full_page=True, clip={"x": 0, "y": 0, "width": size["width"], "height": max(height, size["height"])})


def take_for_readme(hub: Hub, folder: Path) -> None:
    """Write the pictures of README.md, small ones."""
    with chromium() as browser:
        for name, page, theme, ready in README:
            window = Window(browser, hub.url, color_scheme=theme, viewport={"width": 1280, "height": 800})
            _enter(window, hub)
            window.page.goto(hub.pages[page])
            ready(window.page)
            window.page.wait_for_timeout(400)
            window.page.screenshot(path=str(folder / f"page-{name}.png"))
            window.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill, take pictures, tell what was wrong."""
    made = page_data.parser("python -m benchmarks.shots", __doc__ or "")
    made.add_argument("folder", type=Path, nargs="?", help="where pictures go")
    made.add_argument("--large", action="store_true", help="of the large hub, not of the one with three DAGs")
    made.add_argument("--readme", action="store_true", help="the pictures of README.md")
    asked = made.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, _large(asked) if asked.large or asked.attach else demo(Path(folder)) as hub:
        if asked.readme:
            take_for_readme(hub, IMAGES)
            return 0
        if asked.folder is None:
            made.error("say where pictures go")
        wrong = take(hub, asked.folder, asked.only)
    sys.stdout.write("\n".join([*dict.fromkeys(wrong), f"{len(list(asked.folder.glob('*.png')))} pictures in {asked.folder}", ""]))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
