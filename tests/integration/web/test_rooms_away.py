"""While Redis is away the history is still readable, and each deed says why it is not done."""

from __future__ import annotations

from dataclasses import replace

from rqflow.deploy.lasting import Lasting
from rqflow.settings import RedisSettings
from tests.integration.web.site import Site


def test_rooms_say_that_redis_is_away_and_show_what_the_history_has(site: Site) -> None:
    browser = site.browser("ann")
    browser.put("/api/v1/pools/gpu", json={"slots": 2})
    browser.put("/api/v1/variables/city", json={"value": "Bern"})
    parts = site.app.state.parts
    parts.lasting.close()
    parts.lasting = Lasting(replace(site.settings, redis=RedisSettings(url="redis://127.0.0.1:1/0")), client_name="rqflow-web")
    for path, said in (("/workers", "known to Redis alone"), ("/pools", "gpu"), ("/variables", "Bern"), ("/audit", "pool set"), ("/health", "unhealthy")):
        answer = browser.get(path)
        assert answer.status_code == 200, (path, answer.text[:500])
        assert said in answer.text, path
    for path in ("/queues/default/pause", "/workers/w1/stop"):
        answer = browser.post(path)
        assert answer.status_code == 503, path
        assert "Nothing is lost" in answer.text
    assert browser.get("/api/v1/workers").status_code == 503
