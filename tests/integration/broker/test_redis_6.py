"""The oldest Redis that rqflow takes, which `pip install 'rqflow[embedded]'` brings: it words what a script meets in its own way."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.integration.broker.link_world import LASTING, ROWS, World
from tests.integration.broker.test_link_faults import SHORT, suffers
from tests.services import redis_6, redis_server


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a private Redis 6.2."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", redis_6() + os.pathsep + os.environ["PATH"])
        with redis_server(tmp_path_factory.mktemp("redis6")) as url:
            yield url


@pytest.mark.parametrize("place", [place for place, (how, _) in ROWS.items() if how != LASTING])
@pytest.mark.parametrize("fault", ["OOM", "READONLY"])
def test_a_redis_6_that_takes_no_writes_is_told_in_time_changes_nothing_and_is_over_when_it_is_over(
    place: str, fault: str, new_world: Callable[[float], World], request: pytest.FixtureRequest,
) -> None:
    suffers(new_world(SHORT), place, fault, request)
