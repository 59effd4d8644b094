"""All that is known of a DAG: what its author wrote, its schedule, why no run starts, whose it is; and its deletion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from rqflow.actions import delete as removing
from rqflow.actions import query, why_dag
from rqflow.actions.model import duration_words
from rqflow.actions.people import users
from rqflow.actions.people.ownership import shared
from rqflow.api.dags import DeleteDag, NextRuns, delete_dag, next_runs
from rqflow.api.operation import perform
from rqflow.api.sharing import GiveDag, ShareDag, give_dag, share_dag, unshare_dag
from rqflow.dag import timetable
from rqflow.dag.params import in_order
from rqflow.dag.version import Version
from rqflow.exceptions import UsageError
from rqflow.store.dags import DagRecord
from rqflow.web.answers import done
from rqflow.web.deps import Filled, TheHub
from rqflow.web.pages.dag import about_dag
from rqflow.web.rendering import page, part

router = APIRouter(include_in_schema=False)
#: Next runs and tasks that are listed.
NEXT, TASKS = 5, 500


@router.get("/dags/{dag_id}/details")
def details_page(request: Request, hub: TheHub, dag_id: str) -> HTMLResponse:
    """Show all of it."""
    dag = hub.dag(dag_id)
    version = query.find_version(hub.engine, dag_id)
    coming = perform(hub, next_runs, NextRuns(dag_id=dag_id, number=NEXT)).items if dag.is_active else ()
    why = None if hub.away else why_dag.dag(hub.live, hub.engine, dag_id)
    names = [one.username for one in users.list_all(hub.engine) if one.is_active] if hub.person.is_admin else []
    return page(request, "dag_details.html", **about_dag(hub, dag), version=version, facts=_facts(dag, version), params=_params(version),
                coming=coming, why=why, shares=shared(hub.engine, dag_id), tasks=version.tasks[:TASKS], names=names,
                default_args=_json(version.default_args))


def _facts(dag: DagRecord, version: Version) -> list[tuple[str, Any]]:
    """Return what stands in a line each; None: nothing to say."""
    yes = {True: "yes", False: "no", None: "as the settings say"}
    failures = version.max_consecutive_failed_dag_runs
    return [
        ("File", version.file or "none: it was made from a command"), ("Version", version.sha[:16]),
        ("Owner", dag.owner or None), ("Submitted by", dag.submitted_by or "nobody: it is the administrators'"),
        ("Schedule", timetable.plain(dag.schedule) or "none"), ("Time zone", dag.timezone), ("Start date", version.start_date),
        ("End date", version.end_date), ("Catch-up", yes[version.catchup]), ("Runs at a time", version.max_active_runs),
        ("Tasks at a time", version.max_active_tasks or "not limited"),
        ("Time limit of a run", duration_words(version.dagrun_timeout) if version.dagrun_timeout else "none"),
        ("Paused after", None if failures is None else f"{failures} failed runs in a row" if failures else "no number of failed runs"),
        ("Callbacks", ", ".join(version.callbacks) or None),
        ("Written for", {"native": "rqflow"}.get(version.generation, f"Airflow {version.generation}")),
        ("First submitted", f"{dag.created_at:%Y-%m-%d %H:%M:%S} UTC"), ("Last changed", f"{dag.updated_at:%Y-%m-%d %H:%M:%S} UTC"),
    ]


def _params(version: Version) -> list[tuple[str, str, str, str]]:
    """Return (name, default as JSON, description, schema as JSON) of each param."""
    found = []
    for name in in_order(version.source, [*version.params, *version.param_specs]):
        spec: Mapping[str, Any] = version.param_specs.get(name, {})
        schema: Mapping[str, Any] = spec.get("schema") or {}
        default = json.dumps(version.params[name], ensure_ascii=False) if name in version.params else ""
        found.append((name, default, str(spec.get("description") or schema.get("description") or ""), _json(schema)))
    return found


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) if value else ""


@router.post("/dags/{dag_id}/share")
def share(request: Request, hub: TheHub, dag_id: str, filled: Filled) -> Response:
    """Share a DAG with somebody, or no more."""
    username = filled.get("username", "").strip()
    if not username:
        raise UsageError("username: whom?")
    asked = ShareDag(dag_id=dag_id, username=username)
    whom = "everyone" if username == "*" else username
    if filled.get("on") == "0":
        perform(hub, unshare_dag, asked)
        return _back(request, dag_id, f"{dag_id} is not shared with {whom} any more.")
    found = perform(hub, share_dag, asked)
    return _back(request, dag_id, f"{dag_id} is shared with {whom}{'' if found.changed else ' already'}.")


@router.post("/dags/{dag_id}/give")
def give(request: Request, hub: TheHub, dag_id: str, filled: Filled) -> Response:
    """Give a DAG to somebody."""
    found = perform(hub, give_dag, GiveDag(dag_id=dag_id, username=filled.get("username", "").strip()))
    return _back(request, dag_id, f"{dag_id} is {found.submitted_by}'s now.")


def _back(request: Request, dag_id: str, said: str) -> Response:
    return done(request, f"/dags/{part(dag_id)}/details", said)


@router.get("/dags/{dag_id}/delete")
def delete_page(request: Request, hub: TheHub, dag_id: str) -> HTMLResponse:
    """Show what goes with a DAG."""
    return page(request, "dag_delete.html", dag=hub.dag(dag_id, changes=True), doomed=removing.doomed(hub.engine, dag_id), problem="")


@router.post("/dags/{dag_id}/delete")
def delete(request: Request, hub: TheHub, dag_id: str, filled: Filled) -> Response:
    """Delete a DAG with all of its runs, when its name was typed in: what is deleted does not come back."""
    dag = hub.dag(dag_id, changes=True)
    if filled.get("name", "").strip() != dag_id:
        return page(request, "dag_delete.html", status=422, dag=dag, doomed=removing.doomed(hub.engine, dag_id),
                    problem=f"Its name is {dag_id}.")
    perform(hub, delete_dag, DeleteDag(dag_id=dag_id, keep_logs=filled.get("keep_logs") == "1"))
    return done(request, "/dags", f"{dag_id} is being deleted, with all of its runs.")
