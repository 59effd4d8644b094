"""The operation that finds things by pieces of their names."""

from __future__ import annotations

from dataclasses import dataclass

from rqflow.actions.sights import search as sight
from rqflow.actions.sights.search import Hits
from rqflow.api.hub import Hub
from rqflow.api.operation import about, operation
from rqflow.security.roles import Role


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What is looked for."""

    q: str = about("Pieces of names, in any order.")
    limit: int = about("At most so many of each kind, and no more than 100.", sight.MOST)


@operation("search", "GET", "/search", Role.VIEWER)
def search(hub: Hub, asked: Search) -> Hits:
    """Find pages, DAGs, tasks and runs by pieces of their names; a few of each, the likeliest first."""
    visible = hub.visible_dag_ids()
    return sight.search(None if hub.away else hub.live, hub.engine, asked.q, sees=None if visible is None else visible.__contains__,
                        most=max(1, min(asked.limit, 100)))
