from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, make_url, text

from rqflow.store.engine import parse_url
from tests.e2e.lab import Lab
from tests.longest_first import LongestFirst, by_test
from tests.network import Host, Network, needs_network
from tests.network.network import a_network
from tests.proxy import Proxy
from tests.services import redis_server


def pytest_configure(config: pytest.Config) -> None:
    """Begin with the tests that take longest."""
    config.pluginmanager.register(LongestFirst("tests/e2e/", by_test))


@pytest.fixture
def lab_redis(tmp_path: Path) -> Iterator[str]:
    """A Redis of this test's own."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with redis_server(folder, "--appendonly", "yes") as url:
        yield url


@pytest.fixture
def new_lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Make labs; all are closed at the end."""
    labs: list[Lab] = []

    def make(*, host: Host | None = None, **options: str) -> Lab:
        labs.append(Lab((host.folder if host else tmp_path) / f"lab{len(labs)}", host=host, forks=True, **options))
        return labs[-1]

    yield make
    for lab in labs:
        lab.close()


@pytest.fixture
def mariadb_database(mariadb_url: str) -> Iterator[str]:
    """The URL of a new, empty database on the private MariaDB."""
    url = make_url(mariadb_url)
    name = f"e2e_{secrets.token_hex(4)}"
    server = create_engine(parse_url(mariadb_url), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield url.set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name}"))
    server.dispose()


@pytest.fixture(scope="session")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab on a Redis of its own and SQLite, with a hub and one worker of four slots, for all tests that kill nothing."""
    folder = tmp_path_factory.mktemp("shared")
    with redis_server(folder, "--appendonly", "yes") as url:
        made = Lab(folder / "lab", redis_url=url, environ={"RQFLOW_VAR_GREETING": "hello"}, forks=True)
        try:
            made.hub()
            made.worker("-n", "4")
            yield made
        finally:
            made.close()


@pytest.fixture
def lab(shared_lab: Lab) -> Lab:
    """The shared lab with an empty folder for the files of this test, in which commands run; its DAG ids are shared, too."""
    shared_lab.enter_folder()
    return shared_lab


@pytest.fixture
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    """An empty network, for machines that only ssh reaches; what they say is shown when the test fails."""
    needs_network()
    with a_network() as made:
        yield made
        if request.session.testsfailed:
            sys.stdout.write(made.logs())


@pytest.fixture
def tunnel(lab_redis: str) -> Iterator[Proxy]:
    """A TCP proxy before the Redis of a lab."""
    with Proxy(lab_redis.removeprefix("unix://")) as proxy:
        yield proxy
