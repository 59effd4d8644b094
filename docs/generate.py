"""Write the pages that are made from the code. `scripts/docs` runs it; tests/docs fails when a page lags behind."""

from __future__ import annotations

from pathlib import Path

from rqflow.deploy import home

ROOT = Path(__file__).parents[1]


def pages() -> dict[Path, str]:
    """Return {path: text} of every generated file."""
    return {ROOT / "conf" / "rqflow.cfg": home.sample()}


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
