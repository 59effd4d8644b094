"""What the tests of workers, pools and people share: live workers as Redis knows them, and each deed asked for by who may not."""

from __future__ import annotations

from collections.abc import Sequence

import redis

from rqflow import clock
from rqflow.broker import keys, standing
from rqflow.clock import to_micros
from rqflow.security.roles import Role
from tests.integration.web.site import Site


def a_worker(db: redis.Redis, name: str = "host.dir.1", *, queues: Sequence[str] = ("default",), slots: int = 4, **fields: str) -> str:
    """Let Redis know a live worker; return its name."""
    now = clock.utcnow()
    host = name.split(".")[0]
    db.sadd(keys.RQ_WORKERS, keys.RQ_WORKER + name)
    db.hset(keys.RQ_WORKER + name, mapping={
        "hostname": host, "pid": "11", "queues": ",".join(queues), "slots": str(slots), "state": "idle", "rqflow": "0.1",
        "last_heartbeat": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), **fields})
    db.hset(keys.HEARD, name.rpartition(".")[0],
            standing.heard(to_micros(now), pid=11, name=name, host=host, queues=queues, labels=(), slots=slots, version="0.1"))
    return name


def deeds(site: Site, event: str) -> list[str]:
    """Who did this, by the audit log, the last one first; what was done in Redis alone is recorded first."""
    site.hub.record()
    answer = site.browser("ann").get("/api/v1/audit", params={"event": event})
    assert answer.status_code == 200, answer.text
    return [one["who"] for one in answer.json()["items"]]


def refused(site: Site, paths: Sequence[str], *, role: Role = Role.OPERATOR) -> None:
    """Assert that these forms do nothing for a lower role, and say why; GET and POST alike."""
    browser = site.browser(f"low_{role.value}", role)
    for path in paths:
        method, _, target = path.partition(" ")
        answer = browser.request(method, target)
        assert answer.status_code == 403, (path, answer.status_code, answer.text[:500])
        assert "takes admin" in answer.text, path
