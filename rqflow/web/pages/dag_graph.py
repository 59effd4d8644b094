"""The graph of a DAG as its newest version has it, with the states of one of its runs, the newest unless another is named."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse

from rqflow.actions import query as versions
from rqflow.actions.sights import graph_view
from rqflow.actions.sights.graph_view import GraphView
from rqflow.actions.sights.grid import GridRun, grid
from rqflow.api.hub import Hub
from rqflow.states import TaskState
from rqflow.web.deps import TheHub
from rqflow.web.pages.dag import about_dag
from rqflow.web.rendering import live_page, query
from rqflow.web.seeing import live_of, upto

router = APIRouter(include_in_schema=False)
#: How far from a task is near it.
HOPS = 2
Opened = Annotated[list[str], Query(alias="open")]


def _drawn(hub: Hub, dag_id: str, opened: list[str], near: str) -> GraphView:
    return graph_view.graph(versions.find_version(hub.engine, dag_id), opened=opened, focus=near or None, hops=HOPS)


def _states(hub: Hub, dag_id: str) -> tuple[GridRun | None, dict[str, TaskState]]:
    """Return the run that was made last, and {task_id: state} of its tasks."""
    found = grid(live_of(hub), hub.engine, dag_id, limit=1)
    if not found.runs:
        return None, {}
    run = found.runs[0]
    return run, {task.task_id: TaskState(found.codes[code]) for task, code in zip(found.tasks, run.states, strict=True) if code in found.codes}


@router.get("/dags/{dag_id}/graph")
def graph_page(request: Request, hub: TheHub, dag_id: str, opened: Opened = [], near: str = "") -> HTMLResponse:  # noqa: B006 - FastAPI copies it
    """Show the graph; groups and fans in `open` are open, `near` is a task around which alone is drawn."""
    now, dag = upto(hub), hub.dag(dag_id)
    view = _drawn(hub, dag_id, opened, near)
    run, states = _states(hub, dag_id)
    stands = {one.id: one for one in graph_view.told(view, states)}
    return live_page(request, "dag_graph.html", "_dag_graph_states.html", **about_dag(hub, dag), view=view, stands=stands, run=run, near=near,
                     upto=now, asked=query(open=list(view.opened), near=near))


@router.get("/dags/{dag_id}/graph.dot")
def graph_dot(hub: TheHub, dag_id: str, opened: Opened = [], near: str = "") -> Response:  # noqa: B006 - as above
    """Give the graph as it is drawn, for Graphviz."""
    hub.dag(dag_id)
    return Response(_drawn(hub, dag_id, opened, near).dot, media_type="text/vnd.graphviz; charset=utf-8",
                    headers={"Content-Disposition": 'attachment; filename="graph.dot"'})
