"""A site for each test, on SQLite."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from rqflow.security.roles import Role
from rqflow.store.engine import open_engine
from tests.integration.web.airflow import Client, MakeClient
from tests.integration.web.serving import served
from tests.integration.web.site import Site


@pytest.fixture
def site(db: redis.Redis, redis_url: str, sqlite_template: Path, tmp_path: Path, home: Path) -> Iterator[Site]:
    """An application whose history is an empty SQLite database."""
    file = tmp_path / "site.db"
    shutil.copy(sqlite_template, file)
    engine = open_engine(f"sqlite:///{file}")
    made = Site(db, redis_url, engine, home)
    yield made
    made.close()
    engine.dispose()


@pytest.fixture
def client(site: Site) -> Iterator[MakeClient]:
    """Makes clients of Airflow's API, which the site answers behind a socket."""
    with served(site.app) as url:
        yield lambda name="ann", role=Role.ADMIN, token="": Client(site, url, name, role, token)
