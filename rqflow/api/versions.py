"""Operations on the versions of DAGs."""

from __future__ import annotations

from dataclasses import dataclass

from rqflow.actions import sources
from rqflow.api.dags import OneDag, within
from rqflow.api.hub import Hub
from rqflow.api.operation import Page, about, operation
from rqflow.security.roles import Role
from rqflow.store import versions
from rqflow.store.engine import reading
from rqflow.store.versions import VersionLine


@dataclass(frozen=True, kw_only=True, slots=True)
class ListVersions(OneDag):
    """Which versions of a DAG."""

    limit: int = about("At most so many.", 100)
    after: int | None = about("Only those with a lower number: `next` of the page before.", None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Versions:
    """Versions of a DAG, the newest first; `next` is what `after` takes to get those before; None: there are no more."""

    items: tuple[VersionLine, ...]
    next: int | None = None


@operation("dags.versions", "GET", "/dags/{dag_id}/versions", Role.VIEWER)
def list_versions(hub: Hub, asked: ListVersions) -> Versions:
    """List the versions of a DAG, the newest first, with how many runs took each."""
    hub.dag(asked.dag_id)
    limit = within(asked.limit)
    with reading(hub.engine) as connection:
        found = versions.of_dag(connection, asked.dag_id, limit=limit + 1, before=asked.after)
    return Versions(items=tuple(found[:limit]), next=found[limit - 1].number if len(found) > limit else None)


@dataclass(frozen=True, kw_only=True, slots=True)
class TwoVersions(OneDag):
    """Which two versions of a DAG."""

    first: int = about("Number of the one.")
    second: int = about("Number of the other.")


@operation("dags.difference", "GET", "/dags/{dag_id}/difference", Role.VIEWER)
def difference(hub: Hub, asked: TwoVersions) -> Page[str]:
    """Show what is different between two versions of a DAG: lines of a unified difference of its files."""
    hub.dag(asked.dag_id)
    return Page(items=tuple(sources.difference(hub.engine, asked.dag_id, asked.first, asked.second)))
