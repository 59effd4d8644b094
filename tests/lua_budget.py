"""Steps of the broker that do less at a time than they may, so that small DAGs show what large ones do."""

from __future__ import annotations

import pytest

from rqflow.broker import sources


def set_budget(patch: pytest.MonkeyPatch, budget: int) -> None:
    """Let each step touch only so many edges, and leave the rest to the next."""
    script, library = sources.script.__wrapped__, sources.library.__wrapped__

    def changed(text: str) -> str:
        assert "budget = 400" in text
        return text.replace("budget = 400", f"budget = {budget}")

    def small_library(step: str) -> tuple[str, str]:
        name, text = library(step)
        return f"{name}_{budget}", changed(text).replace(name, f"{name}_{budget}")

    patch.setattr(sources, "script", lambda step: changed(script(step)))
    patch.setattr(sources, "library", small_library)
