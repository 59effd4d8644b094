"""A run on one screen: what it is above, its tasks at the left, and at the right what is known of one of them, or of the run.

The whole page and its pieces have the same addresses: htmx names the piece that it wants.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from rqflow.actions.logview.view import Wanted
from rqflow.api.hub import Hub
from rqflow.api.operation import perform
from rqflow.api.reports import FORMS, ReportRun, report_run
from rqflow.exceptions import NotFound
from rqflow.security.roles import Role
from rqflow.web.deps import TheHub, visible_run
from rqflow.web.news import upto_of
from rqflow.web.pages import logs
from rqflow.web.pages.logs import TheIndexes
from rqflow.web.rendering import BY_ALL, BY_NOBODY, BY_ROLE, fragment, is_fragment, page, share
from rqflow.web.run_asked import Asked, TheAsked
from rqflow.web.run_pages import run_pages_of
from rqflow.web.run_sight import RunSight, shown

router = APIRouter(include_in_schema=False)
#: The pieces of the page, by the id of their element.
PIECES = {"run-head": "_run_head.html", "tasks": "_run_tasks.html", "panel": "_run_panel.html", "panel-top": "_run_top.html",
          "panel-body": "_run_body.html", "graph-states": "_run_graph_states.html"}
#: Those that show nothing that one may do and another may not: operators differ in what they may do.
WITHOUT_DEEDS = {"tasks", "graph-states"}


@router.get("/runs/{run_key}")
def show_run(request: Request, hub: TheHub, indexes: TheIndexes, asked: TheAsked, run_key: str) -> Response:
    """Show a run."""
    return _shown(request, hub, indexes, replace(asked, run_key=run_key))


@router.get("/runs/{run_key}/tasks/{task_id}")
def show_task(request: Request, hub: TheHub, indexes: TheIndexes, asked: TheAsked, run_key: str, task_id: str) -> Response:
    """Show a run with one of its tasks beside the list."""
    return _shown(request, hub, indexes, replace(asked, run_key=run_key, task_id=task_id))


def _shown(request: Request, hub: Hub, indexes: Any, asked: Asked) -> Response:
    record = visible_run(hub, asked.run_key)
    if record.run_key != asked.run_key:  # a run id was given, or its beginning
        return RedirectResponse(replace(asked, run_key=record.run_key).url, status_code=303)
    sight = RunSight(hub, run_pages_of(request.app), record, asked, upto_of(request.headers))
    if asked.task_id and sight.task and sight.one and asked.try_number is None:
        pass  # what is not there is told before anything is shown
    target = request.headers.get("hx-target", "").rpartition("#")[2]
    piece = PIECES.get(target) if is_fragment(request) else None
    share(request, BY_ALL if target in WITHOUT_DEEDS else BY_NOBODY if hub.person.role is Role.OPERATOR else BY_ROLE)
    known: dict[str, Any] = {"sight": sight, "asked": asked, "shown": shown, "log": _log(hub, indexes, sight) if asked.here == "log" else None}
    return fragment(request, piece, **known) if piece else page(request, "run.html", **known)


def _log(hub: Hub, indexes: Any, sight: RunSight) -> logs.LogPanel | None:
    """Return the log of the chosen try; None: there is none yet."""
    if sight.one is None:
        return None
    place = logs.place_of(hub, sight.record.run_key, sight.asked.task_id, sight.one.try_number)
    return logs.panel(hub, indexes, place, Wanted())


@router.get("/runs/{run_key}/report.{form}")
def report(hub: TheHub, run_key: str, form: str) -> Response:
    """Give the report of a run as a file to keep."""
    wanted = {"html": "html", "csv": "trace", "svg": "timeline"}.get(form)
    if wanted is None:
        raise NotFound(f"there is no report in the form {form[:20]}", hint=f"There is {', '.join(ending for ending, _ in FORMS.values())}.")
    made = perform(hub, report_run, ReportRun(run=run_key, form=wanted))
    name = made.name.encode("ascii", "replace").decode().replace("?", "_")
    headers = {"Content-Disposition": f"attachment; filename=\"{name}\"; filename*=UTF-8''{quote(made.name, safe='')}"}
    return Response(made.text, media_type=f"{made.media_type}; charset=utf-8", headers=headers)


@router.get("/runs/{run_key}/graph.dot")
def dot(request: Request, hub: TheHub, asked: TheAsked, run_key: str) -> Response:
    """Give the graph as it is drawn, for Graphviz."""
    record = visible_run(hub, run_key)
    sight = RunSight(hub, run_pages_of(request.app), record, replace(asked, run_key=record.run_key))
    if sight.graph is None:
        raise NotFound(f"the version of run {record.run_id} is not known")
    headers = {"Content-Disposition": f"attachment; filename=\"{record.run_key}.dot\""}
    return Response(sight.graph.dot, media_type="text/vnd.graphviz; charset=utf-8", headers=headers)
