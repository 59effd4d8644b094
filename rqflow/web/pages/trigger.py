"""Starting a run by hand: a form made of the DAG's params, or a conf in JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from rqflow import clock
from rqflow.actions import query, trigger
from rqflow.api.hub import Hub
from rqflow.api.operation import perform
from rqflow.api.runs import StartRun, start_run
from rqflow.dag.version import Version
from rqflow.exceptions import RqflowError, UsageError
from rqflow.web import forms
from rqflow.web.answers import done
from rqflow.web.deps import Filled, TheHub
from rqflow.web.problems import status_of
from rqflow.web.rendering import page
from rqflow.web.rest import PREFIX

router = APIRouter(include_in_schema=False)


@router.get("/dags/{dag_id}/trigger")
def trigger_page(request: Request, hub: TheHub, dag_id: str, of: str = "") -> HTMLResponse:
    """Show the form; with `of`, the key of a run, filled in as that run was started."""
    hub.dag(dag_id)
    version = query.find_version(hub.engine, dag_id)
    before = hub.run(of) if of else None
    given = dict(before.params) if before else {}
    conf = {name: value for name, value in before.conf.items() if name not in version.params} if before else {}
    return _form(request, hub, version, given=given, values={"conf": _json(conf) if conf else "", "note": before.note if before else ""})


def _form(request: Request, hub: Hub, version: Version, *, given: Mapping[str, Any], values: Mapping[str, str], problem: str = "") -> HTMLResponse:
    fields = forms.fields_of(version.params, version.param_specs, given, source=version.source)
    return page(request, "trigger.html", dag=hub.dag(version.dag_id), version=version, fields=fields, values=values, problem=problem,
                command=_command(version, given, values), curl=_curl(request, version, given, values))


@router.post("/dags/{dag_id}/trigger")
def trigger_run(request: Request, hub: TheHub, dag_id: str, filled: Filled) -> Response:
    """Start the run, or show the form again with what is wrong."""
    hub.dag(dag_id)
    version = query.find_version(hub.engine, dag_id)
    given: dict[str, Any] = {}
    try:
        given = forms.read(filled, version.params, version.param_specs)
        changed = {name: value for name, value in given.items() if name not in version.params or version.params[name] != value}
        conf = trigger.read_conf(_conf_text(filled)) if filled.get("conf", "").strip() else {}
        run = perform(hub, start_run, StartRun(
            dag_id=dag_id, params=changed, conf=conf, logical_date=_moment(filled.get("logical_date", "")),
            run_id=filled.get("run_id", "").strip() or None, note=filled.get("note", ""), idempotency_key=filled.get("key") or None))
    except RqflowError as error:
        if status_of(error) not in {400, 409, 422}:
            raise
        found = _form(request, hub, version, given=given, values=filled, problem=str(error))
        found.status_code = status_of(error)
        return found
    return done(request, f"/runs/{run.run_key}", f"Run {run.run_id} of {dag_id} started.")


def _conf_text(filled: Mapping[str, str]) -> str:
    text = filled["conf"].strip()
    if text.startswith("@"):  # at a command line that names a file, which of the server's nobody may read here
        raise UsageError("conf: it must be a JSON object, like {\"sample\": \"A\"}")
    return text


def _moment(text: str) -> datetime | None:
    """Return the date and time of a field, in UTC when it names no zone; None for an empty one. Raises UsageError."""
    if not text.strip():
        return None
    try:
        return clock.aware(datetime.fromisoformat(text.strip()))
    except ValueError as error:
        raise UsageError(f"logical date: {text[:50]!r} is no date and time", hint="Write it like 2026-11-23T00:00.") from error


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _command(version: Version, given: Mapping[str, Any], values: Mapping[str, str]) -> str:
    """Return the command that starts the same run."""
    words = ["rqflow", "run", "start", version.dag_id]
    for name, value in given.items():
        if version.params.get(name) != value:
            words += ["-p", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    if values.get("conf", "").strip():
        words += ["--conf", values["conf"].strip()]
    return shlex.join(words)


def _curl(request: Request, version: Version, given: Mapping[str, Any], values: Mapping[str, str]) -> str:
    """Return the request of the API that starts the same run."""
    body: dict[str, Any] = {"dag_id": version.dag_id, "params": {name: value for name, value in given.items() if version.params.get(name) != value}}
    try:
        body["conf"] = json.loads(values.get("conf", "").strip() or "{}")
    except ValueError:
        body["conf"] = {}
    words = ["curl", "-X", "POST", "-H", "Authorization: Bearer $RQFLOW_TOKEN", "-H", "Content-Type: application/json", "-d", json.dumps(body),
             f"{str(request.base_url).rstrip('/')}{PREFIX}/runs"]
    return shlex.join(words).replace("'Authorization: Bearer $RQFLOW_TOKEN'", '"Authorization: Bearer $RQFLOW_TOKEN"')
