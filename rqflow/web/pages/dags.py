"""The list of DAGs, and the switch that pauses one or lets it go on."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from rqflow.actions.schedule import ManyRuns
from rqflow.actions.sights import dag_list as sight
from rqflow.actions.sights.dag_list import DagList, DagRow
from rqflow.api.dags import ChangeDag, change_dag
from rqflow.api.operation import perform
from rqflow.exceptions import UsageError
from rqflow.security.roles import Role
from rqflow.web.answers import done
from rqflow.web.deps import Filled, TheHub
from rqflow.web.news import upto_of
from rqflow.web.pages.session import inside
from rqflow.web.recent import Recent
from rqflow.web.rendering import BY_NOBODY, BY_ROLE, live_page, moment, page, part
from rqflow.web.seeing import filter_of, live_of, upto

router = APIRouter(include_in_schema=False)
#: What people are offered when a DAG would start many past runs: how many of the last ones.
OFFERED = (1, 10, 100)


def recent_of(request: Request) -> Recent[tuple[str, DagList]]:
    """Return the lists that were read a moment ago, with up to which event each is true."""
    if not hasattr(request.app.state, "dag_lists"):
        request.app.state.dag_lists = Recent(request.app.state.parts.pieces)
    found: Recent[tuple[str, DagList]] = request.app.state.dag_lists
    return found


@router.get("/dags")
def dag_list_page(request: Request, hub: TheHub, q: str = "", tag: Annotated[list[str], Query()] = [],  # noqa: B006 - FastAPI copies it
                  owner: str = "", show: str = sight.ALL, sort: str = sight.BY_FAILING, offset: int = 0) -> HTMLResponse:
    """Show a page of the DAGs."""
    tags = [one for one in tag if one]

    def read() -> tuple[str, DagList]:
        now = upto(hub)
        return now, sight.dag_list(live_of(hub), hub.engine, text=q, tags=tags, owner=owner or None, show=show, sort=sort, offset=offset,
                                   sees=filter_of(hub))

    asked = (q, tuple(tags), owner, show, sort, offset)
    now, found = read() if filter_of(hub) else recent_of(request).of(asked, upto_of(request.headers), read)
    may_change = {one.dag_id for one in found.dags if hub.person.role.allows(Role.OPERATOR) and hub.claims.owns(one)}
    chosen = {"q": q, "tag": tags, "owner": owner, "show": show, "sort": sort}
    return live_page(request, "dags.html", "_dags.html", found=found, squares=squares_of, chosen=chosen, may_change=may_change,
                     may_start=hub.person.role.allows(Role.OPERATOR), upto=now, away=hub.away,
                     shared=BY_NOBODY if hub.person.role is Role.OPERATOR else BY_ROLE)


def squares_of(row: DagRow) -> Markup:
    """Return the last runs of a DAG, the oldest first. Joined here and not in the template, which takes several times as long for 1,250 of them."""
    found = []
    for run in reversed(row.runs):
        word, at = run.state.value, moment(run.created_at)
        found.append(f'<a class="sq sq-sm st-{word}" href="/runs/{run.run_key}" title="{word} · {at} UTC" aria-label="{word}, {at}"></a>')
    return Markup("".join(found))  # noqa: S704 - states, hex digits and times, all of which are written here


@router.post("/dags/{dag_id}/paused")
def pause_dag(request: Request, hub: TheHub, dag_id: str, filled: Filled) -> Response:
    """Pause a DAG, or let it go on; where many past runs would start, ask first."""
    back = inside(filled.get("back") or f"/dags/{part(dag_id)}")
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
