"""Pools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query

from rqflow.actions.pools import MOST
from rqflow.actions.pools import Pool as Ours
from rqflow.api import pools as operations
from rqflow.api.operation import Nothing, perform
from rqflow.api.pools import OnePool, SetPool
from rqflow.exceptions import Conflict, UsageError
from rqflow.web.airflow.asking import ThePart, masked, words
from rqflow.web.airflow.hub_models import Pool, PoolGiven, PoolList
from rqflow.web.deps import TheHub

router = APIRouter(include_in_schema=False)

#: By what pools may be ordered.
_ORDERS: dict[str, Callable[[Ours], Any]] = {"id": lambda one: one.name, "name": lambda one: one.name, "slots": lambda one: _slots(one)}


@router.get("/pools")
def list_pools(hub: TheHub, part: ThePart) -> PoolList:
    """List the pools."""
    name, descends = part.order(_ORDERS, "id")
    found = sorted(perform(hub, operations.list_pools, Nothing()).items, key=_ORDERS[name], reverse=descends)
    return PoolList(pools=[_pool(one) for one in part.of(found)], total_entries=len(found))


@router.post("/pools")
def add_pool(hub: TheHub, body: PoolGiven) -> Pool:
    """Make a pool."""
    if body.name is None or body.slots is None:
        raise UsageError(f"Missing required property(ies): {[name for name in ('name', 'slots') if getattr(body, name) is None]}")
    if body.name in {one.name for one in perform(hub, operations.list_pools, Nothing()).items}:
        raise Conflict(f"Pool: {body.name} already exists")
    made = perform(hub, operations.set_pool, SetPool(pool=body.name, slots=body.slots, description=body.description))
    return _pool(made.pool)


@router.get("/pools/{pool_name:path}")
def get_pool(hub: TheHub, pool_name: str) -> Pool:
    """Show a pool."""
    return _pool(perform(hub, operations.get_pool, OnePool(pool=pool_name)))


@router.patch("/pools/{pool_name:path}")
def change_pool(hub: TheHub, pool_name: str, body: PoolGiven, update_mask: Annotated[list[str] | None, Query()] = None) -> Pool:
    """Change a pool."""
    mask = words(update_mask)
    change = masked(body, mask, set(PoolGiven.model_fields))
    if not mask and not {"name", "slots"} <= change.keys():
        raise UsageError(f"Missing required property(ies): {sorted({'name', 'slots'} - change.keys())}")
    now = perform(hub, operations.get_pool, OnePool(pool=pool_name))
    if change.get("name", pool_name) != pool_name:
        raise UsageError(f"Pool {pool_name} cannot be renamed: tasks name it")
    slots = change.get("slots", now.slots)
    if slots is None or (slots == _slots(now) and now.slots is None):
        if "description" in change:
            raise UsageError(f"Give {pool_name} slots: it has no limit yet, and nothing that a description could stand with")
        return _pool(now)
    text = (change["description"] or "") if "description" in change else None
    return _pool(perform(hub, operations.set_pool, SetPool(pool=pool_name, slots=slots, description=text)).pool)


@router.delete("/pools/{pool_name:path}", status_code=204)
def delete_pool(hub: TheHub, pool_name: str) -> None:
    """Delete a pool."""
    perform(hub, operations.delete_pool, OnePool(pool=pool_name))


def _slots(pool: Ours) -> int:
    """Return its slots; -1, as in Airflow, where there is no limit."""
    return -1 if pool.slots is None else pool.slots


def _pool(one: Ours) -> Pool:
    """Return a pool in Airflow's words. A slot is taken when a worker takes the task: what is queued has none yet."""
    free = MOST if one.slots is None else max(one.slots - one.used, 0)
    return Pool(name=one.name, slots=_slots(one), occupied_slots=one.used, running_slots=one.used, scheduled_slots=one.parked, open_slots=free,
                description=one.description or None)
