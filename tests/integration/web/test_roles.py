"""Who may what: a table of all routes by who may use them (roles.txt), and each of them tried by nobody and by people of each kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter
from starlette.testclient import TestClient

from rqflow.actions.people import ownership, tokens
from rqflow.security.roles import Role
from rqflow.web.app import routers
from tests.integration.web.site import BASE, Site
from tests.unit.builders import a_version

#: `who METHOD /path` a line: all (no login), viewer, operator (any), owner (of the DAG, or of the run), admin.
TABLE = Path(__file__).with_name("roles.txt")
#: What may use what: person -> the words of the table that let them.
MAY = {
    "nobody": {"all"}, "viewer": {"all", "viewer"}, "operator": {"all", "viewer", "operator"}, "owner": {"all", "viewer", "operator", "owner"},
    "admin": {"all", "viewer", "operator", "owner", "admin"},
}


def routes(router: APIRouter, before: str = "") -> Iterator[tuple[str, str]]:
    """(method, path) of each route."""
    for route in router.routes:
        if hasattr(route, "original_router"):
            yield from routes(route.original_router, before + router.prefix)
        else:
            yield from ((method, before + route.path) for method in sorted(getattr(route, "methods", ())) if method != "HEAD")


ROUTES = [one for router in routers() for one in routes(router)]


def table() -> dict[tuple[str, str], str]:
    """{(method, path): who}."""
    lines = [line.split() for line in TABLE.read_text(encoding="utf-8").splitlines() if line.strip() and not line.startswith("#")]
    return {(method, path): who for who, method, path in lines}


def test_the_table_has_every_route_and_no_other() -> None:
    assert set(table()) == set(ROUTES)
    assert set(table().values()) <= MAY["admin"]


def body_for(document: dict[str, Any], method: str, path: str) -> dict[str, Any] | None:
    """The least body that the OpenAPI document lets pass; None where it knows of none."""
    about = document["paths"].get(path, {}).get(method.lower(), {}).get("requestBody")
    if about is None:
        return None
    schema = about["content"].get("application/json", {}).get("schema", {})
    return dict(_least(document, schema) or {})


def _least(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        return _least(document, schema["anyOf"][0])
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        return {name: _least(document, schema["properties"][name]) for name in schema.get("required", ())}
    return {"string": "2026-01-01T00:00:00Z" if schema.get("format") == "date-time" else "x", "integer": 1, "number": 1.0, "boolean": True,
            "array": []}.get(str(kind))


#: Nobody, a viewer, two operators, of whom one owns the DAG, and an admin.
PEOPLE = {"nobody": None, "viewer": ("vera", Role.VIEWER), "operator": ("oscar", Role.OPERATOR), "owner": ("olga", Role.OPERATOR), "admin": ("ada", Role.ADMIN)}
#: Streams that do not end, and what logs in and out, which has tests of its own (test_session.py).
ELSEWHERE = {"/events", "/login", "/logout", "/setup/{secret}", "/oidc/login", "/oidc/back"}


#: What is sent where the least that the document lets pass is not looked at for who may: {route: JSON, or the fields of a form}.
AIRFLOW = "/airflow/api/v1"
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/api/v1/dags"): {"versions": []},  # a DAG would belong to the first who sends it
    ("POST", "/api/v1/exec"): {"command": ["true"]},
    ("POST", "/api/v1/runs"): {"dag_id": "daily"},
    ("POST", "/api/v1/runs/plan"): {"dag_id": "daily"},
    ("POST", "/api/v1/runs/{run}/mark"): {"state": "success", "dry_run": True},
    ("POST", "/api/v1/runs/{run}/mark-tasks"): {"task": "a", "state": "success", "dry_run": True},
    ("PATCH", f"{AIRFLOW}/dags"): {"is_paused": True},
    ("PATCH", f"{AIRFLOW}/dags/{{dag_id}}"): {"is_paused": True},
    ("POST", f"{AIRFLOW}/dags/{{dag_id}}/clearTaskInstances"): {"dry_run": True, "only_failed": False},
    ("POST", f"{AIRFLOW}/dags/{{dag_id}}/updateTaskInstancesState"): {"task_id": "a", "dag_run_id": "r1", "new_state": "success", "dry_run": True},
    ("POST", f"{AIRFLOW}/dags/{{dag_id}}/dagRuns"): {"conf": {}},
    ("PATCH", f"{AIRFLOW}/dags/{{dag_id}}/dagRuns/{{dag_run_id}}"): {"state": "queued"},
    ("POST", f"{AIRFLOW}/dags/{{dag_id}}/dagRuns/{{dag_run_id}}/clear"): {"dry_run": True},
    ("PATCH", f"{AIRFLOW}/dags/{{dag_id}}/dagRuns/{{dag_run_id}}/setNote"): {"note": "x"},
    ("PATCH", f"{AIRFLOW}/dags/{{dag_id}}/dagRuns/{{dag_run_id}}/taskInstances/{{task_id}}"): {"new_state": "success", "dry_run": True},
    ("POST", f"{AIRFLOW}/dags/~/dagRuns/list"): {"page_limit": 1},
    ("POST", f"{AIRFLOW}/dags/~/dagRuns/~/taskInstances/list"): {"dag_ids": ["daily"]},
    ("POST", f"{AIRFLOW}/pools"): {"name": "p", "slots": 1},
    ("PATCH", f"{AIRFLOW}/pools/{{pool_name:path}}"): {"name": "default_pool", "slots": 128},
    ("POST", f"{AIRFLOW}/variables"): {"key": "k", "value": "v"},
    ("PATCH", f"{AIRFLOW}/variables/{{variable_key:path}}"): {"key": "x", "value": "v"},
    ("POST", f"{AIRFLOW}/connections"): {"connection_id": "c", "conn_type": "http"},
    ("PATCH", f"{AIRFLOW}/connections/{{connection_id:path}}"): {"connection_id": "x", "conn_type": "http"},
}
FORMS: dict[tuple[str, str], dict[str, str]] = {
    ("POST", "/dags/{dag_id}/paused"): {"on": "1"},
    ("POST", "/dags/{dag_id}/share"): {"username": "zoe"},
    ("POST", "/runs/{run_key}/mark"): {"state": "success"},
    ("POST", "/pool-import"): {"text": "{}"},
    ("POST", "/tokens"): {"name": "t", "role": "viewer"},
}


class Trial:
    """A site on which each route is tried by each person."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._browsers: dict[str, TestClient] = {}
        run = site.hub.start(a_version({"a": []}, dag_id="daily", schedule="@daily", start_date="2026-01-01T00:00:00+00:00"), run_id="r1")
        admin = self.browser("admin")
        for name, role in (("zoe", Role.VIEWER), ("olga", Role.OPERATOR)):
            site.browser(name, role)
        ownership.chown(site.engine, "daily", "olga", by="ada")
        token = tokens.make(site.engine, "zoe", name="her own", by="zoe").record.id
        filled = admin.post("/api/v1/dags/daily/backfills", json={"first": "2026-01-02T00:00:00Z", "last": "2026-01-03T00:00:00Z"})
        assert filled.status_code == 200, filled.text
        number = str(filled.json()["id"])
        self.made = 0
        self.known = {
            "dag_id": "daily", "run_key": run.run_key, "run": run.run_key, "task_id": "a", "dag_run_id": "r1", "pool": "default_pool", "queue": "default",
            "try_number": "1", "task_try_number": "1", "username": "zoe", "version": "x", "name": "app.css", "number": number, "backfill": number,
            "form": "html", "pool_name": "default_pool", "kind": "dag", "token": str(token)}
        self.document = admin.get("/api/v1/openapi.json").json()

    def another(self) -> dict[str, str]:
        """A DAG with a run, olga's, to be deleted."""
        self.made += 1
        dag_id = f"doomed{self.made}"
        run = self.site.hub.start(a_version({"a": []}, dag_id=dag_id), run_id=f"{dag_id}-r")
        ownership.chown(self.site.engine, dag_id, "olga", by="ada")
        return {"dag_id": dag_id, "run_key": run.run_key, "run": run.run_key, "dag_run_id": run.run_id}

    def browser(self, person: str) -> TestClient:
        """A browser of that person."""
        if person not in self._browsers:
            who = PEOPLE[person]
            made = self.site.browser(*who) if who else self.site.browser()
            self._browsers[person] = TestClient(self.site.app, base_url=BASE, follow_redirects=False, raise_server_exceptions=False,
                                                cookies=dict(made.cookies))
        return self._browsers[person]

    def ask(self, person: str, method: str, path: str) -> httpx2.Response:
        """Ask for a route, with ids of what there is."""
        known = {**self.known, "deed": "cancel" if path.startswith("/dags") else "pause"}
        if path.startswith(("/tokens", "/api/v1/tokens")):
            known["number"] = self.known["token"]
        if method == "DELETE" or path.endswith("/delete"):
            known |= self.another()
        url = re.sub(r"\{(\w+)(?::path)?\}", lambda found: known.get(found[1], "x"), path)
        browser = self.browser(person)
        if re.search("session|password|token|users", path):  # it may end sessions
            self._browsers.clear()
        if (method, path) == ("PATCH", f"{AIRFLOW}/dags"):
            url += "?dag_id_pattern=daily"
        if (method, path) in FORMS:
            return browser.post(url, data=FORMS[method, path])
        body = BODIES.get((method, path), body_for(self.document, method, path))
        return browser.request(method, url, **({"json": body} if body is not None else {}))  # type: ignore[arg-type]  # a keyword of its own


def bordering(who: str) -> list[str]:
    """Those whom a word of the table divides: nobody, whoever just may not, and whoever just may."""
    let_in = [person for person in PEOPLE if who in MAY[person]]
    kept_out = [person for person in PEOPLE if who not in MAY[person]]
    return list(dict.fromkeys([*kept_out[:1], *kept_out[-1:], let_in[0]]))


def is_refused(answer: httpx2.Response) -> bool:
    """Whether somebody was not let in."""
    return answer.status_code in {401, 403} or answer.headers.get("location", "").startswith("/login")


@pytest.mark.timeout(240)
def test_r78_each_route_lets_in_whom_the_table_names_and_nobody_else(site: Site) -> None:
    """Reliability 78."""
    trial, wrong = Trial(site), []
    # What only shows comes first, and what deletes last: it changes what the others find.
    order = sorted(table().items(), key=lambda one: (one[0][0] != "GET", one[0][0] == "DELETE" or "delete" in one[0][1], one[0][1]))
    for (method, path), who in order:
        if path in ELSEWHERE or path.endswith("/stream"):
            continue
        for person in bordering(who):
            answer = trial.ask(person, method, path)
            if is_refused(answer) == (who in MAY[person]) or answer.status_code >= 500:
                wrong.append(f"{person} {method} {path}: {answer.status_code}, the table says {who}: {answer.text[:200]}")
    assert not wrong, "\n".join(wrong)
