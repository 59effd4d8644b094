from __future__ import annotations

import pytest

from tests.longest_first import LongestFirst, by_file


def pytest_configure(config: pytest.Config) -> None:
    """Begin with the files that take longest. The tests of a file stay together."""
    config.pluginmanager.register(LongestFirst("tests/integration/", by_file))
