"""A site that has something of everything, each text of it chosen by the test; and the address of every page that there is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi.routing import APIRoute

from rqflow.actions import logs, query
from rqflow.broker.messages import Claim
from rqflow.states import TaskState
from rqflow.web.pages import PAGES
from tests.integration.broker import playing
from tests.integration.web import rooms
from tests.integration.web.happenings import happen
from tests.integration.web.site import Site
from tests.unit.builders import a_task, a_version

#: Pages that are no part of what people who are logged in look at, and answers that are no pages.
NO_PAGES = {"/oidc/login", "/oidc/back", "/login", *(f"/runs/{{run_key}}/logs/{{task_id}}/{{try_number}}/{part}" for part in ("stream", "number", "search"))}


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """What a site was filled with."""

    site: Site
    #: What each variable part of a path is, by its name.
    names: dict[str, str]
    #: Pages beside those that each route has.
    more: list[str]

    def __call__(self, path: str) -> str:
        """Return the path of a route with what there is of each of its parts."""
        return address(path, self.names)

    def addresses(self) -> list[str]:
        """Return the address of a page of each route, and some others."""
        return [*(address(route.path, self.names) for route in routes()), *self.more]


def routes() -> Iterator[APIRoute]:
    """Give the routes of all pages that are read."""
    for room in PAGES:
        for route in room.router.routes:
            if isinstance(route, APIRoute) and "GET" in route.methods and route.path not in NO_PAGES:
                yield route


def address(path: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        path = path.replace("{" + name + "}", quote(value, safe=""))
    assert "{" not in path, f"world.py does not know what to put into {path}"
    return path


def fill(site: Site, word: Callable[[str], str]) -> World:
    """Fill a site; `word` gives the text for a field of that name. The person is ann, an admin."""
    site.browser("ann")
    _rooms(site, word)
    version = _version(word)
    old = site.hub.start(replace(version, description=word("former description")), run_id=word("first run id"))
    # The first task ends well, the second fails.
    _end(site, _claim(site), TaskState.SUCCESS, word)
    _end(site, _claim(site), TaskState.FAILED, word)
    site.hub.record()
    run = site.hub.start(version, day=1, run_id=word("run id"))
    _post(site, f"/runs/{run.run_key}/note", {"note": word("note")})
    _post(site, f"/runs/{old.run_key}/clear", {"task": version.tasks[0].task_id, "downstream": "1"})
    held = _claim(site)
    _post(site, f"/dags/{quote(version.dag_id, safe='')}/trigger",
          {"run_id": word("conf run id"), "note": word("note"), "conf": json.dumps({word("conf key"): word("conf value")})})
    _post(site, f"/dags/{quote(version.dag_id, safe='')}/backfill",
          {"first": "2024-02-01", "last": "2024-02-03", "task_regex": re.escape(version.tasks[0].task_id), "pool": word("pool")[:50],
           "conf": json.dumps({word("conf key"): word("conf value")})})
    site.hub.record()
    happened = happen(site, old, version.tasks[1].task_id, word)
    names = {**happened, "dag_id": version.dag_id, "run_key": old.run_key, "task_id": version.tasks[0].task_id, "try_number": "1",
             "pool": word("pool")[:50], "conn_id": word("conn_id"), "key": word("key"), "worker": word("host") + ".dir.1", "queue": word("queue"), "deed": "clear", "form": "html",
             "number": "1", "username": "bob"}
    at = f"/runs/{old.run_key}"
    task = f"{at}/tasks/{quote(version.tasks[0].task_id, safe='')}"
    failed = f"{at}/tasks/{quote(version.tasks[1].task_id, safe='')}"
    more = ["/login", f"/runs/{run.run_key}", *(f"{at}?tab={tab}" for tab in ("graph", "timeline", "params", "events")),
            *(f"{task}?tab={tab}" for tab in ("log", "graph", "timeline", "details", "rendered", "xcoms")),
            *(f"{failed}?tab={tab}" for tab in ("log", "rendered", "details")),
            f"/runs/{held.run_key}/tasks/{quote(held.task_id, safe='')}", f"/dags?q={quote(word('q'))}", f"/runs?dag={quote(version.dag_id)}",
            f"/search?q={quote(word('description'))}", f"/dags/{quote(version.dag_id, safe='')}/durations?task={quote(version.tasks[0].task_id)}",
            f"/dags/{quote(version.dag_id, safe='')}/code?version=2&against=1", "/health?doctor=1", f"/nothing/{quote(word('host'))}"]
    return World(site=site, names=names, more=more)


def _version(word: Callable[[str], str]) -> Any:
    group, first, second, third = word("group"), word("task id"), word("second task id"), word("third task id")
    specs = [a_task(f"{group}.{first}", command=word("command"), doc=word("doc"), owner=word("owner"), group_id=group),
             a_task(second, operator_name=word("operator"), fields={"env": {word("env"): word("env value")}}),
             a_task(third, pool=word("pool")[:50], queue=word("queue"))]
    return a_version(
        {f"{group}.{first}": [], second: [f"{group}.{first}"], third: [second]}, specs=specs, groups={group: {"parent": None, "tooltip": word("tooltip")}},
        dag_id=word("dag_id"), file=word("file"), sources={word("file"): f'# {word("source")}\nDAG("x")\n'}, description=word("description"),
        doc_md=f"# {word('heading')}\n[{word('link')}](javascript:alert(1)) {word('doc_md')}", owner=word("owner"), tags=(word("tag"),), schedule="@daily",
        start_date="2024-01-01T00:00:00+00:00", params={word("param"): word("param value"), "n": 3},
        param_specs={word("param"): {"description": word("param description"), "schema": {"type": "string", "title": word("title")}}},
        default_args={"owner": word("default owner")}, edge_labels={second: {third: word("edge label")}})


def _claim(site: Site) -> Claim:
    found, = playing.claim(site.hub.broker, 1)
    return found


def _end(site: Site, claim: Claim, state: TaskState, word: Callable[[str], str]) -> None:
    shown = query.show(site.hub.broker, site.engine, claim.run_key)
    file = Path(site.settings.logs.folder) / logs.path(shown, claim.task_id, 1)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"::group::{word('fold')}\n{word('log line')}\n\x1b[31m{word('red')}\x1b[0m\n::endgroup::\nERROR {word('error')}\n")
    file.chmod(0o440)
    facts = {"exit_code": 1 if state is TaskState.FAILED else 0, "host": word("host"), "max_rss_bytes": 2_254_857_830}
    playing.tell(site.hub.broker, playing.end(claim, state, facts=facts, duration=3.0, reason=word("reason"), xcoms={word("xcom key"): json.dumps(word("xcom"))}))


def _rooms(site: Site, word: Callable[[str], str]) -> None:
    """What people write into forms."""
    worker = rooms.a_worker(site.hub.db, word("host") + ".dir.1", queues=("default", word("queue")), labels=word("label"), rqflow=word("release"))
    _post(site, f"/workers/{quote(worker, safe='')}/pause", {})
    _post(site, f"/queues/{quote(word('queue'), safe='')}/pause", {})
    _post(site, "/pools", {"pool": word("pool")[:50], "slots": "3", "description": word("pool description")})
    _post(site, "/variables", {"key": word("key"), "value": word("value"), "description": word("variable description")})
    _post(site, "/connections", {"conn_id": word("conn_id"), "conn_type": "http", "host": word("conn host"), "login": word("login"),
                                 "schema": word("schema"), "extra": json.dumps({word("extra"): word("extra value")}), "description": word("conn description")})
    _post(site, "/users", {"username": "bob", "role": "viewer", "full_name": word("full name"), "email": word("email") + "@example.org"})
    _post(site, "/owners", {"owner": word("owner"), "username": "bob"})
    _post(site, "/tokens", {"name": word("token name"), "days": "9"}, status=200)
    _post(site, "/account", {"full_name": word("full name"), "email": word("email") + "@example.org"})


def _post(site: Site, path: str, data: dict[str, str], status: int = 303) -> None:
    answer = site.browser("ann").post(path, data=data)
    assert answer.status_code == status, (path, answer.status_code, re.findall(r'class="(?:alert|flash|wrong)[^>]*>.*', answer.text)[:3])
