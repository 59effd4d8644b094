"""Operations on pools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rqflow.actions import pools
from rqflow.actions.pools import Pool
from rqflow.actions.sights import fleet
from rqflow.actions.sights.fleet import HeldTask
from rqflow.api.hub import Hub
from rqflow.api.operation import Nothing, Page, about, operation
from rqflow.security.roles import Role


@operation("pools.list", "GET", "/pools", Role.VIEWER)
def list_pools(hub: Hub, _: Nothing) -> Page[Pool]:
    """List the pools with the slots in use and the tasks that wait for one."""
    return Page(items=tuple(pools.list_all(hub.broker, hub.engine)))


@dataclass(frozen=True, kw_only=True, slots=True)
class OnePool:
    """Which pool."""

    pool: str = about("Its name.")


@operation("pools.get", "GET", "/pools/{pool}", Role.VIEWER)
def get_pool(hub: Hub, asked: OnePool) -> Pool:
    """Show one pool."""
    return pools.get(hub.broker, hub.engine, asked.pool)


@operation("pools.tasks", "GET", "/pools/{pool}/tasks", Role.VIEWER)
def tasks_of_pool(hub: Hub, asked: OnePool) -> Page[HeldTask]:
    """List the tasks that have a slot of a pool, and those that wait for one after them."""
    return Page(items=tuple(fleet.in_pool(hub.broker, asked.pool, hub.visible_dag_ids())))


@dataclass(frozen=True, kw_only=True, slots=True)
class SetPool(OnePool):
    """What it is to be."""

    slots: int = about("How many tasks of it may run at the same time.")
    description: str | None = about("What it stands for; not given: it stays.", None)


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolSet:
    """The pool as it is now; `is_new`: it was made."""

    pool: Pool
    is_new: bool


@operation("pools.set", "PUT", "/pools/{pool}", Role.ADMIN)
def set_pool(hub: Hub, asked: SetPool) -> PoolSet:
    """Make a pool, or change its slots; tasks that run go on."""
    is_new = pools.put(hub.broker, hub.engine, asked.pool, asked.slots, by=hub.person.name, description=asked.description)
    hub.go_on()
    return PoolSet(pool=pools.get(hub.broker, hub.engine, asked.pool), is_new=is_new)


@operation("pools.delete", "DELETE", "/pools/{pool}", Role.ADMIN)
def delete_pool(hub: Hub, asked: OnePool) -> None:
    """Delete a pool; tasks that name it wait until it exists again."""
    pools.remove(hub.broker, hub.engine, asked.pool, by=hub.person.name)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportPools:
    """Pools as `pools.export` gives them."""

    pools: dict[str, Any] = about("{name: {\"slots\": N, \"description\": text}}, or {name: N}.")


@operation("pools.import", "POST", "/pools/import", Role.ADMIN)
def import_pools(hub: Hub, asked: ImportPools) -> Page[Pool]:
    """Make or change many pools."""
    wanted = pools.of_export(asked.pools, "pools")
    for name, (slots, description) in wanted.items():
        pools.put(hub.broker, hub.engine, name, slots, by=hub.person.name, description=description)
    hub.go_on()
    return Page(items=tuple(one for one in pools.list_all(hub.broker, hub.engine) if one.name in wanted))


@operation("pools.export", "GET", "/pools-export", Role.VIEWER)
def export_pools(hub: Hub, _: Nothing) -> dict[str, Any]:
    """Give the pools that have a number of slots, as `pools.import` takes them."""
    return pools.exported(hub.live, hub.engine)
