"""Pools: their slots, who has them and who waits; making, changing and deleting them."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from rqflow import clock
from rqflow.actions import pools
from rqflow.api.hub import Hub
from rqflow.api.operation import must_permit, perform
from rqflow.api.pools import ImportPools, OnePool, SetPool, delete_pool, export_pools, import_pools, set_pool, tasks_of_pool
from rqflow.exceptions import RqflowError, UsageError
from rqflow.web import transfer
from rqflow.web.answers import done
from rqflow.web.deps import Filled, TheHub
from rqflow.web.pages.workers import counted
from rqflow.web.problems import status_of
from rqflow.web.rendering import page
from rqflow.web.transfer import Transfer

router = APIRouter(include_in_schema=False)
PLACE = "/pools"
transfer.add(router, Transfer(
    name="pool", what="pools", place=PLACE, example='{"gpu": {"slots": 2, "description": "cards"}}', exporting=export_pools, importing=import_pools,
    asked=lambda plain: ImportPools(pools=plain), said=lambda stored: f"{counted(len(stored.items), 'pool')} stored."))


@router.get("/pools")
def pools_page(request: Request, hub: TheHub, only: str = "") -> HTMLResponse:
    """Show the pools; with only=pools the part that changes."""
    return page(request, "_pools.html" if only == "pools" else "pools.html", away=hub.away, pools=pools.list_all(hub.live, hub.engine))


@router.get("/pool-new")
def new_page(request: Request, hub: TheHub) -> HTMLResponse:
    """Show the form that makes a pool."""
    must_permit(hub, set_pool)
    return _form(request, "", {}, "")


@router.post("/pools")
def make(request: Request, hub: TheHub, filled: Filled) -> Response:
    """Make a pool, or change the one of that name."""
    return _set(request, hub, filled.get("pool", "").strip(), filled, is_new=True)


@router.get("/pools/{pool}")
def pool_page(request: Request, hub: TheHub, pool: str, only: str = "") -> HTMLResponse:
    """Show a pool with the tasks that have a slot of it, and those that wait for one."""
    found = pools.get(hub.live, hub.engine, pool)
    tasks = () if hub.away else perform(hub, tasks_of_pool, OnePool(pool=pool)).items
    return page(request, "_pool.html" if only == "pool" else "pool.html", away=hub.away, pool=found, tasks=tasks, now=clock.utcnow())


@router.get("/pools/{pool}/edit")
def edit_page(request: Request, hub: TheHub, pool: str) -> HTMLResponse:
    """Show the form that changes a pool."""
    must_permit(hub, set_pool)
    found = pools.get(hub.live, hub.engine, pool)
    return _form(request, pool, {"slots": "" if found.slots is None else str(found.slots),
                                      "description": "" if found.slots is None else found.description}, "")


@router.post("/pools/{pool}/edit")
def edit(request: Request, hub: TheHub, pool: str, filled: Filled) -> Response:
    """Change a pool."""
    pools.get(hub.live, hub.engine, pool)
    return _set(request, hub, pool, filled, is_new=False)


@router.get("/pools/{pool}/delete")
def delete_page(request: Request, hub: TheHub, pool: str) -> HTMLResponse:
    """Ask whether a pool is to go."""
    must_permit(hub, delete_pool)
    return page(request, "pool_delete.html", pool=pools.get(hub.live, hub.engine, pool))


@router.post("/pools/{pool}/delete")
def delete(request: Request, hub: TheHub, pool: str) -> Response:
    """Delete a pool."""
    perform(hub, delete_pool, OnePool(pool=pool))
    return done(request, PLACE, f"Pool {pool} deleted. Tasks that name it wait until it exists again.")


def _set(request: Request, hub: Hub, pool: str, filled: Filled, *, is_new: bool) -> Response:
    must_permit(hub, set_pool)
    try:
        text = filled.get("slots", "").strip()
        if not text.isascii() or not text.isdigit() or len(text) > 12:
            raise UsageError("slots: give a number of 0 or more")
        made = perform(hub, set_pool, SetPool(pool=pool, slots=int(text), description=filled.get("description", "")))
    except RqflowError as error:
        if status_of(error) != 422:
            raise
        found = _form(request, "" if is_new else pool, filled, str(error))
        found.status_code = 422
        return found
    return done(request, PLACE, f"Pool {pool} {'made' if made.is_new else 'changed'}: {counted(made.pool.slots or 0, 'slot')}.")


def _form(request: Request, name: str, values: Filled, problem: str) -> HTMLResponse:
    return page(request, "pool_form.html", name=name, values=values, problem=problem)
