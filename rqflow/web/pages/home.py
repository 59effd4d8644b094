"""The first page: the whole at a glance."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from rqflow.actions.sights import home as sight
from rqflow.store import dag_files, dags
from rqflow.store.engine import reading
from rqflow.web.deps import TheHub
from rqflow.web.rendering import BY_ALL, live_page
from rqflow.web.seeing import live_of, upto

router = APIRouter(include_in_schema=False)
#: Files that cannot be loaded, of which the errors are shown.
FILES = 5


@router.get("/")
def home(request: Request, hub: TheHub) -> HTMLResponse:
    """Show what runs, what failed, what comes, and whether all parts live; to a hub without DAGs how it gets one."""
    now, visible = upto(hub), hub.visible_dag_ids()
    found = sight.home(live_of(hub), hub.engine, sees=None if visible is None else visible.__contains__)
    with reading(hub.engine) as connection:
        problems = dag_files.problems(connection) if visible is None else {}
        is_idle = not (found.runs or found.failed or found.upcoming or problems)
        is_new = is_idle and not any(hub.sees(one) for one in dags.search(connection))
    return live_page(request, "home.html", "_home.html", home=found, problems=list(problems.items())[:FILES], problem_count=len(problems),
                     is_new=is_new, away=hub.away, upto=now, shared=BY_ALL)
