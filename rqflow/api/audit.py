"""The operation that lists what people did."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rqflow import clock
from rqflow.actions.people import audit
from rqflow.actions.people.audit import Deed
from rqflow.api.dags import within
from rqflow.api.hub import Hub
from rqflow.api.operation import Page, about, operation
from rqflow.security.roles import Role
from rqflow.store.events import EventFilter


@dataclass(frozen=True, kw_only=True, slots=True)
class ListDeeds:
    """Which deeds."""

    who: str | None = about("Only what this person did.", None)
    event: str | None = about("Only this deed: login_failed, paused …", None)
    dag_id: str | None = about("Only what was done to this DAG.", None)
    since: datetime | None = about("Only what was done at or after this time.", None)
    until: datetime | None = about("Only what was done before this time.", None)
    limit: int = about("At most so many.", 50)
    after: str | None = about("Only what was done before this one: `next` of the page before.", None)


@operation("audit.list", "GET", "/audit", Role.ADMIN)
def list_deeds(hub: Hub, asked: ListDeeds) -> Page[Deed]:
    """List what people did, the last deed first."""
    limit = within(asked.limit)
    since, until = (clock.aware(moment) if moment else None for moment in (asked.since, asked.until))
    wanted = EventFilter(who=asked.who, event=asked.event, dag_id=asked.dag_id, since=since, until=until)
    found = audit.search(hub.engine, wanted, limit=limit + 1, after=asked.after)
    return Page(items=tuple(found[:limit]), next=found[limit - 1].name if len(found) > limit else None)
