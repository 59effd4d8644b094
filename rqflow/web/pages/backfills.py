"""Backfills: how far they have come, and the form that starts one after a look at its dates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from rqflow.actions import trigger
from rqflow.actions.backfill_view import Backfill
from rqflow.api.backfills import (
    BackfillPlan,
    Backfills,
    ListBackfills,
    OneBackfill,
    PlanBackfill,
    StartBackfill,
    cancel_backfill,
    get_backfill,
    list_backfills,
    pause_backfill,
    plan_backfill,
    resume_backfill,
    start_backfill,
)
from rqflow.api.hub import Hub
from rqflow.api.operation import Operation, perform
from rqflow.dag.backfill import Rerun
from rqflow.exceptions import DagNotFound, NotFound, RqflowError, UsageError
from rqflow.security.roles import Role
from rqflow.states import BackfillState
from rqflow.web.answers import done
from rqflow.web.deps import Filled, TheHub
from rqflow.web.pages.dag import about_dag, one_of
from rqflow.web.pages.session import inside
from rqflow.web.problems import status_of
from rqflow.web.rendering import live_page, page
from rqflow.web.seeing import upto

router = APIRouter(include_in_schema=False)
#: Dates that are shown before a backfill is started.
DATES = 200
#: What may become of dates that have a run already.
RERUNS = ((Rerun.MISSING.value, "leave them as they are"), (Rerun.FAILED.value, "run again what failed"), (Rerun.ALL.value, "run all of them again"))
_FIELDS = frozenset(one.name for one in fields(StartBackfill)) - {"dag_id"}
_DEEDS: dict[str, tuple[Operation[OneBackfill, Backfill], str]] = {
    "pause": (pause_backfill, "makes no more runs"), "resume": (resume_backfill, "goes on"), "cancel": (cancel_backfill, "is being cancelled")}


@router.get("/backfills")
def backfills_page(request: Request, hub: TheHub, dag: str = "", state: str = "", after: int | None = None) -> HTMLResponse:
    """Show backfills, the newest first."""
    now = upto(hub)
    wanted = one_of("state", state, [one.value for one in BackfillState])
    asked = ListBackfills(dag_id=dag.strip() or None, state=[BackfillState(wanted)] if wanted else [], after=after)
    hint = ""
    try:
        if asked.dag_id:
            hub.dag(asked.dag_id)
        found = perform(hub, list_backfills, asked)
    except DagNotFound as error:  # somebody types its name
        found, hint = Backfills(items=()), f"{error.message}. {error.hint}"
    return live_page(request, "backfills.html", "_backfills.html", found=found, dag_id=dag.strip(), state=state, after=after, hint=hint, upto=now,
                     states=[one.value for one in BackfillState], away=hub.away, may_change=hub.person.role.allows(Role.OPERATOR))


@router.get("/backfills/{number}")
def backfill_page(request: Request, hub: TheHub, number: int) -> HTMLResponse:
    """Show how far one has come."""
    now = upto(hub)
    found = perform(hub, get_backfill, OneBackfill(backfill=number))
    return live_page(request, "backfill.html", "_backfill.html", one=found, upto=now, away=hub.away,
                     may_change=hub.claims.may_change_dag(hub.dag(found.dag_id)))


@router.get("/backfills/{number}/cancel")
def cancel_page(request: Request, hub: TheHub, number: int) -> HTMLResponse:
    """Ask whether a backfill is to be cancelled."""
    return page(request, "backfill_cancel.html", one=perform(hub, get_backfill, OneBackfill(backfill=number)))


@router.post("/backfills/{number}/{deed}")
def steer(request: Request, hub: TheHub, number: int, deed: str, filled: Filled) -> Response:
    """Pause a backfill, let it go on, or cancel it."""
    if deed not in _DEEDS:
        raise NotFound(f"a backfill is not steered by {deed[:50]!r}")
    wanted, said = _DEEDS[deed]
    perform(hub, wanted, OneBackfill(backfill=number))
    return done(request, inside(filled.get("back") or f"/backfills/{number}"), f"Backfill {number} {said}.")


@router.get("/dags/{dag_id}/backfill")
def start_page(request: Request, hub: TheHub, dag_id: str) -> HTMLResponse:
    """Show the form; when the dates are filled in, with what would become of each of them."""
    given = {name: value for name, value in request.query_params.items() if name in _FIELDS}
    return _form(request, hub, dag_id, given)


@router.post("/dags/{dag_id}/backfill")
def start(request: Request, hub: TheHub, dag_id: str, filled: Filled) -> Response:
    """Start the backfill, or show the form again with what is wrong."""
    try:
        made = perform(hub, start_backfill, StartBackfill(dag_id=dag_id, **_read(filled)))
    except RqflowError as error:
        if status_of(error) not in {400, 409, 422}:
            raise
        return _form(request, hub, dag_id, filled, problem=error)
    return done(request, f"/backfills/{made.id}", f"Backfill {made.id} of {dag_id} started: {made.total:,} dates, {made.max_active} at a time.")


def _form(request: Request, hub: Hub, dag_id: str, given: Mapping[str, str], problem: RqflowError | None = None) -> HTMLResponse:
    dag = hub.dag(dag_id, changes=True)
    plan: BackfillPlan | None = None
    if problem is None and (given.get("first") or given.get("last")):
        try:
            plan = perform(hub, plan_backfill, PlanBackfill(dag_id=dag_id, limit=DATES, **_read(given)))
        except RqflowError as error:
            if status_of(error) not in {400, 404, 409, 422}:
                raise
            problem = error
    known = {name: given.get(name, "") for name in _FIELDS}
    counts = {deed: sum(one.deed.value == deed for one in plan.dates) for deed in ("make", "rerun", "skip")} if plan else {}
    return page(request, "backfill_form.html", status=status_of(problem) if problem else 200, **about_dag(hub, dag), given=known, plan=plan,
                problem=problem, counts=counts, reruns=RERUNS)


def _read(given: Mapping[str, str]) -> dict[str, Any]:
    """Return what the form says as fields of the operation. Raises UsageError."""
    first, last = _date("from", given.get("first", "")), _date("to", given.get("last", ""))
    number = given.get("max_active", "").strip()
    if number and not (number.isascii() and number.isdecimal() and len(number) < 6):
        raise UsageError(f"runs at a time: {number[:20]!r} is no number")
    conf = given.get("conf", "").strip()
    if conf.startswith("@"):  # at a command line that names a file, which of the server's nobody may read here
        raise UsageError("conf: it must be a JSON object, like {\"sample\": \"A\"}")
    named = {"task_regex": given.get("task_regex", ""), "pool": given.get("pool", "").strip(), "conf": trigger.read_conf(conf) if conf else {}}
    yes = {name: given.get(name) == "1" for name in ("reverse", "mark_success", "ignore_dependencies", "ignore_first_depends_on_past")}
    rerun = one_of("rerun", given.get("rerun", ""), [one.value for one in Rerun])
    return {"first": first, "last": last, "rerun": Rerun(rerun or "missing"), "max_active": int(number) if number else None, **named, **yes}


def _date(name: str, text: str) -> datetime:
    """Return a date and time of the form, without a zone unless it names one: it is meant by the DAG's clock then. Raises UsageError."""
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UsageError(f"{name}: {text[:50]!r} is no date and time" if text.strip() else f"{name}: the date is missing",
                         hint="Write it like 2026-11-23 or 2026-11-23T08:00.") from error
