from __future__ import annotations

from collections.abc import Iterator

import pytest

from rqflow.dag.model import Collected, collecting


@pytest.fixture
def loading() -> Iterator[Collected]:
    """A file is being loaded: problems and warnings are collected."""
    with collecting() as collected:
        yield collected
