"""The application in this process, on a real Redis and a real database, and people who are logged in to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import redis
from starlette.testclient import TestClient

from rqflow.actions.people import signing_in, users
from rqflow.security.roles import Person, Role
from rqflow.settings import Database, RedisSettings, Settings, Webserver
from rqflow.store.engine import Engine
from rqflow.web import signin
from rqflow.web.app import create_app
from tests.integration.actions.hub import Hub

#: What browsers call it.
BASE = "http://hub:8080"


class Site:
    """One hub with its web application; `hub` plays scheduler and worker."""

    def __init__(self, db: redis.Redis, redis_url: str, engine: Engine, home: Path, **webserver: object) -> None:
        self.hub = Hub(db, engine, home)
        self.engine = engine
        url = engine.url.render_as_string(hide_password=False)
        self.settings: Settings = replace(self.hub.settings, redis=RedisSettings(url=redis_url), database=Database(url=url),
                                          webserver=replace(Webserver(), **webserver))  # type: ignore[arg-type]  # names are data here
        self.app = create_app(self.settings)

    def browser(self, name: str = "", role: Role = Role.ADMIN) -> TestClient:
        """A browser; with a name that person is logged in, and added when they are new."""
        made = TestClient(self.app, base_url=BASE, follow_redirects=False)
        if name:
            if name not in {one.username for one in users.list_all(self.engine)}:
                users.add(self.engine, name, role=role, by="test")
            session = signing_in.begin(self.engine, Person(name, role), ip="127.0.0.1", agent="test", lifetime=timedelta(days=1), how="test")
            made.cookies.set(signin.PLAIN, session.secret)
        return made

    def close(self) -> None:
        """End the application."""
        self.app.state.parts.close()
