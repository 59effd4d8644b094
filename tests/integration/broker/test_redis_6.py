"""The oldest Redis that rqflow takes, which `pip install 'rqflow[embedded]'` brings: it words what a script meets in its own way."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.integration.broker.link_world import BROKER, World
from tests.integration.broker.test_link_faults import suffers
from tests.services import loading_server, redis_6, redis_server


@pytest.fixture(scope="module")
def old_redis() -> Iterator[None]:
    """Servers that are started are Redis 6.2."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", redis_6() + os.pathsep + os.environ["PATH"])
        yield


@pytest.fixture(scope="module")
def redis_url(old_redis: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a private Redis 6.2."""
    with redis_server(tmp_path_factory.mktemp("redis6")) as url:
        yield url


@pytest.fixture(scope="module")
def loading(old_redis: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The socket of a Redis 6.2 that loads its data as long as the tests last."""
    with loading_server(tmp_path_factory.mktemp("loading6"), seconds=100) as url:
        yield url.removeprefix("unix://")


#: Only what a script meets is worded differently: each place that has a script of its own, one for each way to send a step, and one without any.
PLACES = [
    f"{BROKER}create_run", f"{BROKER}turn", f"{BROKER}forget_run", "broker/events.py:EventStream.forget_readers", "broker/lock.py:Lock.hold",
    "broker/lock.py:Lock.release", "broker/logstream.py:LogStream.acknowledge", "broker/logstream.py:LogStream.acknowledged",
    "broker/logstream.py:LogStream.settle", "broker/logstream.py:LogStream.append",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", ["LOADING", "OOM", "READONLY"])
def test_a_redis_6_that_takes_no_writes_is_told_in_time_changes_nothing_and_is_over_when_it_is_over(
    place: str, fault: str, new_world: Callable[[float], World], request: pytest.FixtureRequest,
) -> None:
    suffers(new_world, place, fault, request)
