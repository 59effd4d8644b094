"""Operations on the map of owners: which people the owners of DAG files are."""

from __future__ import annotations

from dataclasses import dataclass

from rqflow.actions.people import ownership
from rqflow.api.hub import Hub
from rqflow.api.operation import Nothing, Page, about, operation
from rqflow.security.roles import Role
from rqflow.store.shares import OwnerMapping


@operation("owners.list", "GET", "/owners", Role.ADMIN)
def list_owners(hub: Hub, _: Nothing) -> Page[OwnerMapping]:
    """List which people the owners of DAG files are."""
    return Page(items=tuple(ownership.mappings(hub.engine)))


@dataclass(frozen=True, kw_only=True, slots=True)
class SetOwner:
    """Who an owner is."""

    owner: str = about("Owner as DAG files have it.")
    username: str = about("The person.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """Whether it is news."""

    changed: bool


@operation("owners.set", "PUT", "/owners/{owner}", Role.ADMIN)
def set_owner(hub: Hub, asked: SetOwner) -> Changed:
    """Say that an owner of DAG files is this person; one owner may be several people."""
    return Changed(changed=ownership.map_owner(hub.engine, asked.owner, asked.username, by=hub.person.name))


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteOwner:
    """Which owner is whom no more."""

    owner: str = about("Owner as DAG files have it.")
    username: str | None = about("The person; not given: nobody is it any more.", None)


@operation("owners.delete", "DELETE", "/owners/{owner}", Role.ADMIN)
def delete_owner(hub: Hub, asked: DeleteOwner) -> None:
    """Say that an owner is this person no more."""
    ownership.unmap_owner(hub.engine, asked.owner, asked.username, by=hub.person.name)
