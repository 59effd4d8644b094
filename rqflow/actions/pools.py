"""Pools: how many slots they have (SQL) and how they are used (Redis)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rqflow.actions import variables
from rqflow.broker.broker import Broker
from rqflow.broker.status import PoolStatus
from rqflow.dag.version import DEFAULT_POOL
from rqflow.exceptions import PoolNotFound, UsageError
from rqflow.store import events, pools
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction
from rqflow.store.types import clean

#: Slots that a pool may have.
MOST = 2**31 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """A pool and its use now."""

    name: str
    #: None: no limit, as it is for the default pool until somebody sets one.
    slots: int | None
    used: int
    #: Task instances that wait for a slot.
    parked: int
    description: str


def list_all(broker: Broker, engine: Engine) -> list[Pool]:
    """Return all pools by name, the default pool too."""
    live = broker.pools()
    with reading(engine) as connection:
        records = pools.list_all(connection)
    idle = PoolStatus(slots=0, used=0, parked=0)
    found = [Pool(name=one.name, slots=one.slots, description=one.description, used=use.used, parked=use.parked)
             for one in records for use in [live.get(one.name, idle)]]
    if all(one.name != DEFAULT_POOL for one in found):
        use = live.get(DEFAULT_POOL, idle)
        found.append(Pool(name=DEFAULT_POOL, slots=None, used=use.used, parked=use.parked, description="Tasks that name no pool; no limit yet."))
    return sorted(found, key=lambda pool: pool.name)


def get(broker: Broker, engine: Engine, name: str) -> Pool:
    """Return a pool; raises PoolNotFound."""
    found = [one for one in list_all(broker, engine) if one.name == name]
    if not found:
        raise PoolNotFound(f"there is no pool {name}", hint="`rqflow pool list` shows them.")
    return found[0]


def put(broker: Broker, engine: Engine, name: str, slots: int, *, by: str, description: str | None = None) -> bool:
    """Make a pool or change it, in SQL first; True when it is new. Raises UsageError for a name or a number of slots that no pool can have."""
    variables.check(name)
    if not 0 <= slots <= MOST:
        raise UsageError(f"a pool has 0 or more slots, {MOST} at most, not {slots}")

    def write(connection: Connection) -> bool:
        events.add(connection, "pool_set", who=by, pool=name, slots=slots)
        return pools.put(connection, name, slots, description=None if description is None else clean(description))

    is_new = run_in_transaction(engine, write)
    broker.set_pool(name, slots)
    return is_new


def read_file(text: str, name: str) -> dict[str, tuple[int, str | None]]:
    """Return {pool: (slots, description)} of an exported file's text, rqflow's or Airflow's; raises UsageError naming it."""
    return of_export(variables.json_object(text, name, "pools"), name)


def of_export(plain: Mapping[str, Any], name: str) -> dict[str, tuple[int, str | None]]:
    """Return the same of what the file `name` holds."""
    found = {}
    for pool, given in plain.items():
        variables.check(pool)
        slots = given.get("slots") if isinstance(given, dict) else given
        if not isinstance(slots, int) or isinstance(slots, bool) or not 0 <= slots <= MOST:
            raise UsageError(f"{name}: pool {pool} needs slots, a number of 0 or more, {MOST} at most")
        text = given.get("description") if isinstance(given, dict) else None
        found[pool] = (slots, None if text is None else str(text))
    return found


def exported(broker: Broker, engine: Engine) -> dict[str, dict[str, Any]]:
    """Return the pools that have a number of slots, as `of_export` takes them."""
    return {one.name: {"slots": one.slots, "description": one.description} for one in list_all(broker, engine) if one.slots is not None}


def remove(broker: Broker, engine: Engine, name: str, *, by: str) -> None:
    """Delete a pool; raises PoolNotFound, or UsageError for the default pool."""
    if name == DEFAULT_POOL:
        raise UsageError(f"{DEFAULT_POOL} cannot be deleted: tasks that name no pool use it", hint="Give it other slots with `rqflow pool set`.")

    def write(connection: Connection) -> None:
        pools.remove(connection, name)
        events.add(connection, "pool_deleted", who=by, pool=name)

    run_in_transaction(engine, write)
    broker.set_pool(name, None)


def send(broker: Broker, engine: Engine) -> None:
    """Give Redis the pools as SQL has them, in case it has lost them."""
    live = broker.pools()
    for pool in list_all(broker, engine):
        if pool.slots is not None and (pool.name not in live or live[pool.name].slots != pool.slots):
            broker.set_pool(pool.name, pool.slots)
