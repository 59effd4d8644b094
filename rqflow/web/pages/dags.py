"""The list of DAGs, and the switch that pauses one or lets it go on."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse

from rqflow.actions.schedule import ManyRuns
from rqflow.actions.sights import dag_list as sight
from rqflow.api.dags import ChangeDag, change_dag
from rqflow.api.operation import perform
from rqflow.exceptions import UsageError
from rqflow.security.roles import Role
from rqflow.web.answers import done
from rqflow.web.deps import Filled, TheHub
from rqflow.web.pages.session import inside
from rqflow.web.rendering import BY_NOBODY, BY_ROLE, live_page, page
from rqflow.web.seeing import filter_of, live_of, upto

router = APIRouter(include_in_schema=False)
#: What people are offered when a DAG would start many past runs: how many of the last ones.
OFFERED = (1, 10, 100)


@router.get("/dags")
def dag_list_page(request: Request, hub: TheHub, q: str = "", tag: Annotated[list[str], Query()] = [],  # noqa: B006 - FastAPI copies it
                  owner: str = "", show: str = sight.ALL, sort: str = sight.BY_FAILING, offset: int = 0) -> HTMLResponse:
    """Show a page of the DAGs."""
    now = upto(hub)
    tags = [one for one in tag if one]
    found = sight.dag_list(live_of(hub), hub.engine, text=q, tags=tags, owner=owner or None, show=show, sort=sort, offset=offset, sees=filter_of(hub))
    may_change = {one.dag_id for one in found.dags if hub.person.role.allows(Role.OPERATOR) and hub.claims.owns(one)}
    chosen = {"q": q, "tag": tags, "owner": owner, "show": show, "sort": sort}
    return live_page(request, "dags.html", "_dags.html", found=found, chosen=chosen, may_change=may_change,
                     may_start=hub.person.role.allows(Role.OPERATOR), upto=now, away=hub.away,
                     shared=BY_NOBODY if hub.person.role is Role.OPERATOR else BY_ROLE)


@router.post("/dags/{dag_id}/paused")
def pause_dag(request: Request, hub: TheHub, dag_id: str, filled: Filled) -> Response:
    """Pause a DAG, or let it go on; where many past runs would start, ask first."""
    back = inside(filled.get("back") or f"/dags/{dag_id}")
    if filled.get("on") not in {"0", "1"}:
        raise UsageError("on: it must be 1, or 0 to pause")
    catchup = filled.get("number", "").strip() if filled.get("catchup") == "number" else filled.get("catchup")
    try:
        found = perform(hub, change_dag, ChangeDag(dag_id=dag_id, is_paused=filled["on"] == "0", catchup=catchup or None))
    except ManyRuns as many:
        return page(request, "catchup.html", status=409, dag_id=dag_id, count=many.count, reason=many.message, back=back,
                    offered=[number for number in OFFERED if number < many.count])
    word = "paused" if found.is_paused else "active"
    return done(request, back, f"{dag_id} is {word} now." if found.changed else f"{dag_id} was {word} already.")
