"""The operation that lists what did not end in its sla."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rqflow import clock
from rqflow.api.dags import within
from rqflow.api.hub import Hub
from rqflow.api.operation import Page, about, operation
from rqflow.security.roles import Role
from rqflow.store import sla
from rqflow.store.engine import reading
from rqflow.store.sla import Miss


@dataclass(frozen=True, kw_only=True, slots=True)
class ListMisses:
    """Which misses."""

    dag_id: str | None = about("Only tasks of this DAG.", None)
    run: str | None = about("Only tasks of this run.", None)
    since: datetime | None = about("Only what was missed at or after this time.", None)
    limit: int = about("At most so many.", 50)
    offset: int = about("Leave out so many first.", 0)


@operation("slas.list", "GET", "/slas", Role.VIEWER)
def list_misses(hub: Hub, asked: ListMisses) -> Page[Miss]:
    """List the tasks of scheduled runs that did not end in their sla, the one seen last first; `next` is the offset that goes on."""
    limit = within(asked.limit)
    offset = max(0, min(asked.offset, 10**9))
    run_key = hub.run(asked.run).run_key if asked.run is not None else None
    visible, since = hub.visible_dag_ids(), clock.aware(asked.since) if asked.since else None
    with reading(hub.engine) as connection:
        found = sla.search(connection, dag_id=asked.dag_id, dag_ids=visible, run_key=run_key, since=since, limit=limit + 1, offset=offset)
    return Page(items=tuple(found[:limit]), next=str(offset + limit) if len(found) > limit else None)
