"""Links that let a person set a password once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select, update

from rqflow.store.engine import Connection
from rqflow.store.tables import setup_link


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkRecord:
    """A link; the columns of table setup_link."""

    digest: str
    #: Who may use it; None: whoever opens it chooses a name.
    username: str | None
    role: str
    who: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


def add(connection: Connection, record: LinkRecord) -> None:
    """Write a new link."""
    connection.execute(insert(setup_link).values({name: getattr(record, name) for name in LinkRecord.__slots__}))


def get(connection: Connection, digest: str) -> LinkRecord | None:
    """Return the link, or None."""
    row = connection.execute(select(setup_link).where(setup_link.c.digest == digest)).mappings().first()
    return LinkRecord(**row) if row else None


def use(connection: Connection, digest: str, now: datetime) -> bool:
    """Note that a link was used; False when it was before."""
    query = update(setup_link).where(setup_link.c.digest == digest, setup_link.c.used_at.is_(None))
    return bool(connection.execute(query.values(used_at=now)).rowcount)


def remove_all_of(connection: Connection, username: str) -> None:
    """Take back the links of a person that were not used."""
    connection.execute(delete(setup_link).where(setup_link.c.username == username, setup_link.c.used_at.is_(None)))


def remove_all(connection: Connection) -> int:
    """Forget all links; return how many there were."""
    return int(connection.execute(delete(setup_link)).rowcount)


def remove_before(connection: Connection, moment: datetime) -> None:
    """Forget the links that ended before `moment`."""
    connection.execute(delete(setup_link).where(setup_link.c.expires_at < moment))
