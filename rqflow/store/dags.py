"""DAGs and their versions."""

from __future__ import annotations

import base64
import difflib
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import RowMapping, Select, func, insert, select, update

from rqflow import clock
from rqflow.dag.version import Version
from rqflow.exceptions import Conflict, DagNotFound
from rqflow.store import deletions, signatures
from rqflow.store.engine import Connection
from rqflow.store.tables import dag, dag_version
from rqflow.store.types import ID_LENGTH, clean
from rqflow.store.upsert import Rule, upsert
from rqflow.wire import decode

_NEW = Rule(table=dag)
_IS_THERE = deletions.not_buried(deletions.DAG, dag.c.dag_id)
#: What versions are made of.
_TEXT = (dag_version.c.version, dag_version.c.json)
#: From this many characters on, the JSON of a version is compressed, which its beginning tells.
PACKED_FROM, PACKED = 1 << 20, "zlib:"


@dataclass(frozen=True, kw_only=True, slots=True)
class DagRecord:
    """A DAG as the database knows it; the columns of table dag."""

    dag_id: str
    #: sha of the version that new runs take.
    version: str | None
    file: str
    description: str
    owner: str
    tags: tuple[str, ...]
    schedule: str | None
    timezone: str
    #: False: the file of the folder that it comes from was removed, or makes it no more.
    is_active: bool
    is_paused: bool
    #: Why, for people; None: nobody said.
    pause_reason: str | None
    #: When its next scheduled run is due; None: none is.
    next_run_at: datetime | None
    created_at: datetime
    updated_at: datetime
    #: sha of a version, a newer one as a rule, that waits for a signature; None: there is none.
    unsigned: str | None = None
    #: Whose it is: who submitted it first, or got it since; None: it came from the folder of DAGs, or is older than that was noted.
    submitted_by: str | None = None

    @property
    def status(self) -> str:
        """Whether runs start by schedule, in a word or two: active, paused, file removed; and whether a newer version waits for a signature."""
        word = "file removed" if not self.is_active else "paused" if self.is_paused else "active"
        return f"{word}, unsigned" if self.unsigned else word

    @property
    def paused_because(self) -> str | None:
        """Why it is paused, for people; None: it is not."""
        return (self.pause_reason or "nobody said why") if self.is_paused else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """What save_version did: the number of the version, whether it was unknown, and whether the DAG had another one before."""

    number: int
    is_new: bool
    is_change: bool
    #: sha of the version that the DAG had before; None: it had none.
    before: str | None = field(default=None, compare=False)
    is_paused: bool = False


def save_version(connection: Connection, version: Version, *, inputs: str | None = None, pause_reason: str | None = None,
                 revives: bool = True, submitted_by: str | None = None) -> Saved:
    """Make `version` the one that new runs of its DAG take, and the DAG active, unless it `revives` none; one that is paused stays so.

    A new DAG is paused when there is a `pause_reason`, and belongs to `submitted_by`. `inputs` tells what loading it depended on. The same version
    again changes only what was lost (active flag, file). Safe to repeat, and at the same time from two sides. Raises Conflict for a DAG that was
    deleted (deletions.lift lets it come back).
    """
    now = clock.utcnow()
    facts = {
        "file": version.file, "description": version.description, "owner": clean(version.owner, ID_LENGTH), "tags": list(version.tags),
        "schedule": version.schedule, "timezone": version.timezone, "updated_at": now,
    }
    born = {"is_active": True, "is_paused": pause_reason is not None, "pause_reason": pause_reason, "created_at": now,
            "submitted_by": None if submitted_by is None else clean(submitted_by, ID_LENGTH)}
    upsert(connection, _NEW, [{"dag_id": version.dag_id, **facts, **born}])
    # The lock on the DAG's row puts two that save at the same time in order.
    locked = connection.execute(select(dag.c.version, dag.c.is_paused).where(dag.c.dag_id == version.dag_id).with_for_update()).one()
    before = locked.version
    if deletions.is_deleted(connection, version.dag_id):
        raise Conflict(f"{version.dag_id} was deleted", hint="`rqflow submit FILE` brings it back.")
    number, is_new = _keep(connection, version, now)
    more = ({"is_active": True} if revives else {}) | ({"inputs": inputs} if inputs is not None else {})
    connection.execute(update(dag).where(dag.c.dag_id == version.dag_id).values(version=version.sha, **facts, **more))
    return Saved(number=number, is_new=is_new, is_change=before is not None and before != version.sha, before=before, is_paused=locked.is_paused)


def _keep(connection: Connection, version: Version, now: datetime) -> tuple[int, bool]:
    """Write a version of a DAG whose row is locked, with its signatures; return its number, and whether it was unknown."""
    columns = (dag_version.c.number, dag_version.c.has_sla, dag_version.c.callbacks)
    known = connection.execute(select(*columns).where(dag_version.c.version == version.sha)).first()
    told = {"tells_success": any(task.email_on_success for task in version.tasks),
            "has_sla": any(task.sla is not None for task in version.tasks),
            "callbacks": " ".join(sorted({*version.callbacks, *(kind for task in version.tasks for kind in task.callbacks)}))}
    number: int | None = known.number if known else None
    is_new = number is None
    if number is None:
        newest = select(func.max(dag_version.c.number)).where(dag_version.c.dag_id == version.dag_id)
        number = (connection.execute(newest).scalar() or 0) + 1
        row = {"version": version.sha, "dag_id": version.dag_id, "number": number, "json": _packed(version.json), "created_at": now}
        connection.execute(insert(dag_version).values(row | told))
    elif known and None in (known.has_sla, known.callbacks):
        connection.execute(update(dag_version).where(dag_version.c.version == version.sha).values(told))
    signatures.put(connection, version.sha, version.signatures)
    return number, is_new


def hold_version(connection: Connection, version: Version) -> Saved | None:
    """Keep a version that new runs take once somebody has signed it, and note that it waits; until then the DAG goes on with the one that it has.

    None when it has none: save it then.
    """
    row = connection.execute(select(dag.c.version, dag.c.is_paused).where(dag.c.dag_id == version.dag_id, _IS_THERE).with_for_update()).first()
    if row is None or row.version is None or row.version == version.sha:
        return None
    number, is_new = _keep(connection, version, clock.utcnow())
    signatures.hold(connection, version.dag_id, version.sha)
    return Saved(number=number, is_new=is_new, is_change=False, before=row.version, is_paused=row.is_paused)


def number_of(connection: Connection, sha: str) -> int | None:
    """Return the number of a version within its DAG, or None."""
    return connection.execute(select(dag_version.c.number).where(dag_version.c.version == sha)).scalar()


def with_inputs(connection: Connection, dag_id: str, inputs: str) -> Version | None:
    """Return the version that new runs of the DAG take, if it was loaded from these very inputs, else None."""
    return _one(connection, select(*_TEXT).join(dag, dag.c.version == dag_version.c.version).where(dag.c.dag_id == dag_id, dag.c.inputs == inputs))


def get(connection: Connection, dag_id: str) -> DagRecord | None:
    """Return the DAG, or None; one that was deleted is none."""
    row = connection.execute(select(dag).where(dag.c.dag_id == dag_id, _IS_THERE)).mappings().first()
    return _record(row) if row else None


def find(connection: Connection, dag_id: str) -> DagRecord:
    """Return the DAG; raises DagNotFound, with the nearest names, when there is none."""
    record = get(connection, dag_id)
    if record is None:
        raise missing(connection, dag_id)
    return record


def missing(connection: Connection, dag_id: str, *, among: Collection[str] | None = None) -> DagNotFound:
    """Return the error that there is no DAG of this name, with the nearest names `among` these (None: of all)."""
    names = connection.execute(select(dag.c.dag_id).where(_IS_THERE)).scalars().all() if among is None else sorted(among)
    near = difflib.get_close_matches(dag_id, names, n=3)
    hint = f"Did you mean {' or '.join(near)}?" if near else "`rqflow dag list` shows those that were submitted."
    return DagNotFound(f"there is no DAG {dag_id}", hint=hint)


@dataclass(frozen=True, kw_only=True, slots=True)
class DagFilter:
    """Which DAGs to list; what is None does not matter."""

    tags: Collection[str] = ()
    owner: str | None = None
    #: Part of the dag_id or the description, in any case.
    text: str | None = None
    is_paused: bool | None = None
    #: Also those that no file has: commands that were run.
    fileless: bool = False


def search(connection: Connection, wanted: DagFilter | None = None) -> list[DagRecord]:
    """Return the DAGs that pass, by dag_id; those with all of the tags, where tags are given."""
    wanted = wanted or DagFilter()
    query = select(dag).where(_IS_THERE).order_by(dag.c.dag_id)
    if wanted.owner is not None:
        query = query.where(dag.c.owner == wanted.owner)
    if wanted.is_paused is not None:
        query = query.where(dag.c.is_paused == wanted.is_paused)
    if not wanted.fileless:
        query = query.where(dag.c.file != "")
    found = [_record(row) for row in connection.execute(query).mappings()]
    # Decided here, because only some databases mind the case of LIKE, and know that of letters beyond ASCII.
    text = (wanted.text or "").casefold()
    return [one for one in found if {*wanted.tags} <= {*one.tags} and (text in one.dag_id.casefold() or text in one.description.casefold())]


def version(connection: Connection, sha: str) -> Version | None:
    """Return the version of this sha, or None."""
    return _one(connection, select(*_TEXT).where(dag_version.c.version == sha))


def versions(connection: Connection, shas: Collection[str]) -> dict[str, Version]:
    """Return {sha: version} of those of these versions that there are."""
    signed = signatures.of(connection, shas)
    query = select(*_TEXT).where(dag_version.c.version.in_(list(shas)))
    return {sha: Version.from_json(_unpacked(text), signed.get(sha, ())) for sha, text in connection.execute(query)}


def task_names(connection: Connection, shas: Collection[str]) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return {sha: (task_id, operator) of its tasks} of those of these versions that there are: less work than all of a version."""
    query = select(*_TEXT).where(dag_version.c.version.in_(list(shas)))
    return {sha: tuple((task["task_id"], task.get("operator_name", "")) for task in decode(_unpacked(text))["tasks"])
            for sha, text in connection.execute(query)}


def latest_version(connection: Connection, dag_id: str) -> Version | None:
    """Return the version that new runs of the DAG take, or None."""
    return _one(connection, select(*_TEXT).join(dag, dag.c.version == dag_version.c.version).where(dag.c.dag_id == dag_id, _IS_THERE))


def numbered_version(connection: Connection, dag_id: str, number: int) -> Version | None:
    """Return the version of the DAG that has this number, or None."""
    return _one(connection, select(*_TEXT).where(dag_version.c.dag_id == dag_id, dag_version.c.number == number))


def _one(connection: Connection, query: Select[tuple[str, str]]) -> Version | None:
    """Return the version that a query for _TEXT finds, with its signatures; None when it finds none."""
    row = connection.execute(query).first()
    return None if row is None else Version.from_json(_unpacked(row.json), signatures.of(connection, [row.version]).get(row.version, ()))


def _packed(text: str) -> str:
    """Return the JSON of a version as it is kept: a large one compressed, so that escaped it fits MariaDB's max_allowed_packet of 16 MB."""
    if len(text) < PACKED_FROM:
        return text
    return PACKED + base64.b64encode(zlib.compress(text.encode())).decode("ascii")


def _unpacked(text: str) -> str:
    return zlib.decompress(base64.b64decode(text.removeprefix(PACKED))).decode() if text.startswith(PACKED) else text


def _record(row: RowMapping) -> DagRecord:
    return DagRecord(**{**{name: row[name] for name in DagRecord.__slots__}, "tags": tuple(row["tags"])})
