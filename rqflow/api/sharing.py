"""Operations on whose DAGs are."""

from __future__ import annotations

from dataclasses import dataclass

from rqflow.actions.people import ownership
from rqflow.api.dags import OneDag
from rqflow.api.hub import Hub
from rqflow.api.operation import Page, about, operation
from rqflow.security.roles import Role
from rqflow.store.shares import Share


@operation("dags.shares", "GET", "/dags/{dag_id}/shares", Role.VIEWER)
def list_shares(hub: Hub, asked: OneDag) -> Page[Share]:
    """List with whom a DAG is shared; * is everyone."""
    hub.dag(asked.dag_id)
    return Page(items=tuple(ownership.shared(hub.engine, asked.dag_id)))


@dataclass(frozen=True, kw_only=True, slots=True)
class ShareDag(OneDag):
    """With whom a DAG is shared."""

    username: str = about("A user, or * for everyone.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """With whom a DAG is shared now, or is not any more, and whether that is news."""

    dag_id: str
    username: str
    changed: bool


@operation("dags.share", "PUT", "/dags/{dag_id}/shares/{username}", Role.OPERATOR)
def share_dag(hub: Hub, asked: ShareDag) -> Shared:
    """Let somebody, or everyone, work with a DAG as with their own."""
    found = hub.dag(asked.dag_id, changes=True)
    is_new = ownership.share(hub.engine, found.dag_id, asked.username, by=hub.person.name)
    return Shared(dag_id=found.dag_id, username=asked.username, changed=is_new)


@operation("dags.unshare", "DELETE", "/dags/{dag_id}/shares/{username}", Role.OPERATOR)
def unshare_dag(hub: Hub, asked: ShareDag) -> Shared:
    """Share a DAG with somebody, or everyone, no more."""
    found = hub.dag(asked.dag_id, changes=True)
    ownership.unshare(hub.engine, found.dag_id, asked.username, by=hub.person.name)
    return Shared(dag_id=found.dag_id, username=asked.username, changed=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class GiveDag(OneDag):
    """To whom a DAG is given."""

    username: str = about("A user.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """Whose a DAG is now."""

    dag_id: str
    submitted_by: str


@operation("dags.give", "PUT", "/dags/{dag_id}/owner", Role.ADMIN)
def give_dag(hub: Hub, asked: GiveDag) -> Given:
    """Give a DAG to somebody: from now on they may submit and change it."""
    hub.dag(asked.dag_id)
    found = ownership.chown(hub.engine, asked.dag_id, asked.username, by=hub.person.name)
    return Given(dag_id=found.dag_id, submitted_by=found.submitted_by or "")
