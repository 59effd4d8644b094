"""How long the tasks of a DAG take from run to run, and what they use."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from rqflow.actions.sights import charts as sight
from rqflow.exceptions import UsageError
from rqflow.web.charts import bar_width, bars_of
from rqflow.web.deps import TheHub
from rqflow.web.pages.dag import about_dag
from rqflow.web.rendering import live_page
from rqflow.web.seeing import live_of, upto

router = APIRouter(include_in_schema=False)
#: Runs that may be looked at; size of the drawing of one task.
RUNS = (10, 25, 50, 100)
WIDTH, HEIGHT = 420.0, 40.0


@router.get("/dags/{dag_id}/durations")
def durations_page(request: Request, hub: TheHub, dag_id: str, task: Annotated[list[str], Query()] = [],  # noqa: B006 - FastAPI copies it
                   runs: int = sight.RUNS) -> HTMLResponse:
    """Show how long tasks took in the runs made last; those that take longest when none is named."""
    now, dag = upto(hub), hub.dag(dag_id)
    if not 1 <= runs <= RUNS[-1]:
        raise UsageError(f"runs: {runs} is not from 1 to {RUNS[-1]}")
    wanted = [one for one in task if one]
    found = sight.task_durations(live_of(hub), hub.engine, dag_id, task_ids=wanted, limit=runs)
    used = {one.task_id: one for one in sight.resource_use(live_of(hub), hub.engine, dag_id, limit=runs).tasks}
    rows = [(one, bars_of(one, len(found.runs), WIDTH, HEIGHT), used.get(one.task_id)) for one in found.tasks]
    return live_page(request, "dag_durations.html", "_dag_durations.html", **about_dag(hub, dag), found=found, rows=rows, wanted=wanted, runs=runs,
                     widths=RUNS, width=WIDTH, height=HEIGHT, bar=bar_width(len(found.runs), WIDTH), upto=now)
