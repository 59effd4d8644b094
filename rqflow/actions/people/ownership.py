"""Whose DAGs and runs are, what people may do with them, and giving and sharing them.

A DAG is its first submitter's, and theirs with whom it was shared or who are its owner in the map of owners. One without a submitter, for it came
from the folder of DAGs, is the administrators'.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rqflow import clock
from rqflow.actions.model import Run
from rqflow.exceptions import NotFound, NotPermitted, UsageError
from rqflow.security.roles import Person, Role
from rqflow.settings import Settings
from rqflow.store import dags, events, shares, users
from rqflow.store.dags import DagRecord
from rqflow.store.engine import Connection, Engine, reading, run_in_transaction
from rqflow.store.runs import RunRecord
from rqflow.store.shares import EVERYONE, OwnerMapping, Share
from rqflow.store.types import ID_LENGTH


class Owned(Protocol):
    """What tells whose a DAG is: its record, or its row in a list."""

    @property
    def dag_id(self) -> str: ...  # noqa: D102 - as in DagRecord

    @property
    def owner(self) -> str: ...  # noqa: D102 - as in DagRecord

    @property
    def submitted_by(self) -> str | None: ...  # noqa: D102 - as in DagRecord


@dataclass(frozen=True, slots=True)
class Claims:
    """What makes DAGs a person's, asked once for many DAGs."""

    person: Person
    #: DAGs that were shared with them, and owners of DAG files that they are.
    shared: frozenset[str]
    owners: frozenset[str]

    def owns(self, dag: Owned) -> bool:
        """Tell whether a DAG is theirs; all are an administrator's."""
        if self.person.is_admin or dag.submitted_by == self.person.name or dag.dag_id in self.shared:
            return True
        return not self.owners.isdisjoint(name.strip() for name in dag.owner.split(","))

    def may_see(self, dag: DagRecord, *, filter_by_owner: bool) -> bool:
        """Tell whether they may see a DAG and its runs."""
        return not filter_by_owner or self.owns(dag)

    def may_start(self, dag: DagRecord, *, filter_by_owner: bool) -> bool:
        """Tell whether they may start a run of a DAG."""
        return self.person.role.allows(Role.OPERATOR) and self.may_see(dag, filter_by_owner=filter_by_owner)

    def may_change_dag(self, dag: DagRecord) -> bool:
        """Tell whether they may pause, unpause, backfill or delete a DAG."""
        return self.person.role.allows(Role.OPERATOR) and self.owns(dag)

    def may_change_run(self, dag: DagRecord | None, run: Run | RunRecord) -> bool:
        """Tell whether they may clear, mark, cancel or delete a run; the DAG is None when nobody knows it any more."""
        if not self.person.role.allows(Role.OPERATOR):
            return False
        return self.person.is_admin or run.started_by == self.person.name or (dag is not None and self.owns(dag))


def claims(connection: Connection, person: Person) -> Claims:
    """Return what makes DAGs a person's."""
    if person.is_admin:
        return Claims(person, frozenset(), frozenset())
    return Claims(person, shares.shared_with(connection, person.name), shares.owners_of(connection, person.name))


@dataclass(frozen=True, slots=True)
class Submitter:
    """Who submits DAGs, and whether they may submit those of others."""

    person: Person
    overrules: bool

    @classmethod
    def of(cls, person: Person) -> Submitter:
        """Return one who comes through the page or the API: administrators overrule others."""
        return cls(person, person.is_admin)


def at_hub(engine: Engine, settings: Settings, name: str, uid: int) -> Submitter:
    """Return the account at the hub's command line, by its name and number, as one who submits.

    It is an administrator like all who read the database, yet takes no DAG from another account without a word: that does only root, whose SQLite of
    the home it is, or who is an administrator among the users too.
    """
    rules = uid == 0 or (not settings.database.url and _owner_of(settings.home) == uid)
    if not rules:
        with reading(engine) as connection:
            user = users.get(connection, name)
        rules = user is not None and user.is_active and user.role == Role.ADMIN.value
    return Submitter(Person.local(name), rules)


def check_submit(connection: Connection, submitter: Submitter, dag_ids: Collection[str]) -> None:
    """Raise NotPermitted when one of these DAGs is another's. A share, or the map of owners, lets nobody submit: a DAG is code."""
    if submitter.overrules:
        return
    person = submitter.person
    for dag_id, owner in shares.submitters(connection, dag_ids).items():
        if owner == person.name or (owner is None and person.is_admin):
            continue
        raise NotPermitted(f"DAG {dag_id} belongs to {owner or 'the administrators'}, and {person.name} submits it",
                           hint=f"Give yours another dag_id; or an administrator hands it over: rqflow dag chown {dag_id} {person.name}")


def chown(engine: Engine, dag_id: str, username: str, *, by: str, is_account: bool = False) -> DagRecord:
    """Give a DAG to a person; raises DagNotFound, and NotFound for one who is no user, unless it `is_account` of the hub."""

    def write(connection: Connection) -> DagRecord:
        before = dags.find(connection, dag_id)
        _check_person(connection, username, is_account=is_account)
        shares.give(connection, dag_id, username)
        if before.submitted_by != username:
            events.add(connection, "dag_given", who=by, dag_id=dag_id, before=before.submitted_by or "", to=username)
        return dags.find(connection, dag_id)

    return run_in_transaction(engine, write)


def shared(engine: Engine, dag_id: str) -> list[Share]:
    """Return with whom a DAG was shared; raises DagNotFound."""
    with reading(engine) as connection:
        dags.find(connection, dag_id)
        return shares.of_dag(connection, dag_id)


def share(engine: Engine, dag_id: str, username: str, *, by: str, is_account: bool = False) -> bool:
    """Let a person, or EVERYONE, work with a DAG as with their own; False when they may already. Raises as `chown` does."""

    def write(connection: Connection) -> bool:
        dags.find(connection, dag_id)
        if username != EVERYONE:
            _check_person(connection, username, is_account=is_account)
        is_new = shares.share(connection, dag_id, username, who=by, now=clock.utcnow())
        if is_new:
            events.add(connection, "dag_shared", who=by, dag_id=dag_id, user=username)
        return is_new

    return run_in_transaction(engine, write)


def unshare(engine: Engine, dag_id: str, username: str, *, by: str) -> None:
    """Share a DAG with a person, or EVERYONE, no more. Raises DagNotFound, and NotFound when it was not."""

    def write(connection: Connection) -> None:
        dags.find(connection, dag_id)
        if not shares.unshare(connection, dag_id, username):
            raise NotFound(f"{dag_id} is not shared with {'everyone' if username == EVERYONE else username}")
        events.add(connection, "dag_unshared", who=by, dag_id=dag_id, user=username)

    run_in_transaction(engine, write)


def mappings(engine: Engine) -> list[OwnerMapping]:
    """Return who the owners of DAG files are."""
    with reading(engine) as connection:
        return shares.mappings(connection)


def map_owner(engine: Engine, owner: str, username: str, *, by: str, is_account: bool = False) -> bool:
    """Say that an owner of DAG files is this person; False when that was said. Raises UsageError for no owner, NotFound."""
    if not owner or owner != owner.strip() or len(owner) > ID_LENGTH or "," in owner:
        raise UsageError(f"the owner {owner[:50]!r} has 1 to {ID_LENGTH} characters, no comma, and no blank at either end")

    def write(connection: Connection) -> bool:
        _check_person(connection, username, is_account=is_account)
        is_new = shares.map_owner(connection, owner, username, who=by, now=clock.utcnow())
        if is_new:
            events.add(connection, "owner_mapped", who=by, owner=owner, user=username)
        return is_new

    return run_in_transaction(engine, write)


def unmap_owner(engine: Engine, owner: str, username: str | None = None, *, by: str) -> int:
    """Say that an owner is this person no more, or nobody; return how many people it was. Raises NotFound when it was none."""

    def write(connection: Connection) -> int:
        number = shares.unmap_owner(connection, owner, username)
        if not number:
            raise NotFound(f"the owner {owner} is not mapped{f' to {username}' if username else ''}", hint="`rqflow user owner list` shows the map.")
        events.add(connection, "owner_unmapped", who=by, owner=owner, user=username or "")
        return number

    return run_in_transaction(engine, write)


def _check_person(connection: Connection, username: str, *, is_account: bool) -> None:
    """Raise NotFound for who is neither a user nor an account of the hub: a DAG of a name with a slip in it would be nobody's."""
    if not is_account:
        users.find(connection, username)


def _owner_of(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:
        return None
