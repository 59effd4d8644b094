"""Runs: those of all DAGs in one list, and those of one DAG with a chart and what can be done to many of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from rqflow import clock
from rqflow.actions.model import Run
from rqflow.actions.sights import charts as sight
from rqflow.api.hub import Hub
from rqflow.api.operation import Page, perform
from rqflow.api.runs import TYPES, CancelRun, DeleteRun, ListRuns, RetryRun, cancel_run, delete_run, list_runs, retry_run
from rqflow.exceptions import DagNotFound, RqflowError, UsageError
from rqflow.states import TERMINAL_RUN_STATES, RunState
from rqflow.web.answers import done
from rqflow.web.charts import scatter_chart
from rqflow.web.deps import Filled, TheHub
from rqflow.web.pages.dag import about_dag, one_of
from rqflow.web.rendering import BAD, OK, WARN, live_page, page, part
from rqflow.web.seeing import live_of, upto

router = APIRouter(include_in_schema=False)
#: Runs of a page, and those of which something is done at once.
RUNS, MANY = 50, 100
#: What can be done to many runs: {deed: (what it is called, what it did, which states it is for)}.
UNFINISHED = [state for state in RunState if state not in TERMINAL_RUN_STATES]
DEEDS: dict[str, tuple[str, str, list[RunState]]] = {
    "clear": ("Run again what failed", "run again", [RunState.FAILED, RunState.CANCELLED]),
    "cancel": ("Cancel", "are being cancelled", UNFINISHED),
    "delete": ("Delete", "are being deleted", list(RunState)),
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which runs, as the address says."""

    dag_id: str
    state: str
    run_type: str
    since: str
    until: str
    version: str = ""

    def asked(self, *, limit: int, after: str | None = None, among: list[RunState] | None = None) -> ListRuns:
        """Return it as the input of the operation; `among`: only these states. Raises UsageError."""
        state = one_of("state", self.state, [one.value for one in RunState])
        states = [RunState(state)] if state else []
        if among is not None:
            states = [one for one in among if not states or one in states]
        return ListRuns(dag_id=self.dag_id or None, state=states, run_type=one_of("run_type", self.run_type, TYPES), version=self.version or None,
                        limit=limit, after=after, since=moment_of("since", self.since), until=moment_of("until", self.until))

    @property
    def query(self) -> dict[str, str]:
        """What of it the address says, but for the DAG."""
        return {"state": self.state, "run_type": self.run_type, "since": self.since, "until": self.until, "version": self.version}


def moment_of(name: str, text: str) -> datetime | None:
    """Return the date and time of a field, in UTC when it names no zone; None for an empty one. Raises UsageError."""
    if not text.strip():
        return None
    try:
        return clock.aware(datetime.fromisoformat(text.strip()))
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{name}: {text[:50]!r} is no date and time", hint="Write it like 2026-11-23 or 2026-11-23T08:00.") from error


def _listed(hub: Hub, chosen: Chosen, after: str) -> tuple[Page[Run], dict[str, Any]]:
    """Return the runs, and what the list of them shows besides."""
    if chosen.dag_id:
        hub.dag(chosen.dag_id)
    found = perform(hub, list_runs, chosen.asked(limit=RUNS, after=after or None))
    return found, {"found": found, "chosen": chosen, "after": after, "states": [one.value for one in RunState], "types": TYPES}


@router.get("/runs")
def runs_page(request: Request, hub: TheHub, dag: str = "", state: str = "", run_type: str = "", since: str = "", until: str = "",
              after: str = "") -> HTMLResponse:
    """Show runs of all DAGs, the newest first."""
    now, chosen = upto(hub), Chosen(dag.strip(), state, run_type, since, until)
    hint = ""
    try:
        _, known = _listed(hub, chosen, after)
    except DagNotFound as error:  # somebody types its name
        hint = f"{error.message}. {error.hint}"
        known = {"found": Page(items=()), "chosen": chosen, "after": "", "states": [one.value for one in RunState], "types": TYPES}
    return live_page(request, "runs.html", "_runs.html", **known, hint=hint, upto=now, away=hub.away, home="/runs", of_dag=False, deeds={})


@router.get("/dags/{dag_id}/runs")
def dag_runs_page(request: Request, hub: TheHub, dag_id: str, state: str = "", run_type: str = "", since: str = "", until: str = "",
                  version: str = "", after: str = "") -> HTMLResponse:
    """Show the runs of a DAG: when they began and how long they took, and a list."""
    now, dag = upto(hub), hub.dag(dag_id)
    _, known = _listed(hub, Chosen(dag_id, state, run_type, since, until, version), after)
    scatter = sight.scatter(live_of(hub), hub.engine, dag_id)
    return live_page(request, "dag_runs.html", "_dag_runs.html", **about_dag(hub, dag), **known, hint="", upto=now, scatter=scatter,
                     chart=scatter_chart(scatter), home=request.url.path, of_dag=True, deeds={name: deed[0] for name, deed in DEEDS.items()})


@router.get("/dags/{dag_id}/runs/{deed}")
def bulk_page(request: Request, hub: TheHub, dag_id: str, deed: str, state: str = "", run_type: str = "", since: str = "",
              until: str = "", version: str = "") -> HTMLResponse:
    """Show of which runs something would be done."""
    dag = hub.dag(dag_id)
    word, _, states = _deed(deed)
    chosen = Chosen(dag_id, state, run_type, since, until, version)
    asked = chosen.asked(limit=MANY, among=states)
    found: Page[Run] = perform(hub, list_runs, asked) if asked.state else Page(items=())
    rows = [(run, *_preview(hub, deed, run)) for run in found.items]
    return page(request, "bulk.html", dag=dag, deed=deed, verb=word, rows=rows, keys=",".join(run.run_key for run, _, why in rows if not why),
                has_more=found.next is not None, most=MANY, chosen=chosen)


def _deed(name: str) -> tuple[str, str, list[RunState]]:
    if name not in DEEDS:
        raise UsageError(f"there is no {name[:50]!r} for many runs", hint=f"There are {', '.join(DEEDS)}.")
    return DEEDS[name]


def _preview(hub: Hub, deed: str, run: Run) -> tuple[str, str]:
    """Return what would become of a run, and why nothing can be done to it; empty: it can."""
    try:
        record = hub.run(run.run_key, changes=True)
        if deed != "clear":
            return {"cancel": "its tasks that have not ended are cancelled", "delete": "it goes with its history and its logs"}[deed], ""
        tasks = perform(hub, retry_run, RetryRun(run=record.run_key, dry_run=True)).tasks
    except RqflowError as error:
        return "", error.message
    names = ", ".join(task.task_id for task in tasks[:4])
    return f"{len(tasks)} task{'s' if len(tasks) != 1 else ''}: {names}{' …' if len(tasks) > 4 else ''}" if tasks else "nothing of it failed", ""


@router.post("/dags/{dag_id}/runs/{deed}")
def bulk(request: Request, hub: TheHub, dag_id: str, deed: str, filled: Filled) -> Response:
    """Do it, to the runs that were shown."""
    hub.dag(dag_id)
    _, did, _ = _deed(deed)
    keys = [key for key in filled.get("keys", "").split(",") if key][:MANY]
    refused = [why for key in keys if (why := _do(hub, deed, key))]
    number = len(keys) - len(refused)
    said = f"{number} of {len(keys)} runs of {dag_id} {did}."
    if refused:
        said += f" {len(refused)} could not be changed: {refused[0]}"
    return done(request, f"/dags/{part(dag_id)}/runs", said, OK if not refused else WARN if number else BAD)


def _do(hub: Hub, deed: str, key: str) -> str:
    """Do it to one run; return why not."""
    try:
        if deed == "clear":
            perform(hub, retry_run, RetryRun(run=key))
        elif deed == "cancel":
            perform(hub, cancel_run, CancelRun(run=key))
        else:
            perform(hub, delete_run, DeleteRun(run=key))
    except RqflowError as error:
        return error.message
    return ""
