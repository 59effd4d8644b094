"""The schema of the database: which revision it has, whether this release can work with it, and how it gets the newest."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import inspect

from rqflow import logs
from rqflow.exceptions import Conflict, StoreError
from rqflow.store.engine import Connection, Engine, open_engine, reading, run_in_transaction
from rqflow.store.tables import metadata

logger = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "alembic_version"
#: Seconds that an upgrade waits for another one to end.
UPGRADE_SECONDS = 300


#: Read at the start: an upgrade may bring new ones while this process runs.
_REVISIONS = sorted(path.name[1:5] for path in (MIGRATIONS / "versions").glob("r[0-9][0-9][0-9][0-9]_*.py"))


def revisions() -> list[str]:
    """Return the revisions that this release knows, oldest first; they are numbers in the names of the migrations."""
    return list(_REVISIONS)


def head() -> str:
    """Return the revision that this release works with."""
    return revisions()[-1]


def current(engine: Engine) -> str | None:
    """Return the revision of the database; None when it has none of our tables. Raises StoreError when it cannot be asked."""
    with reading(engine) as connection:
        return _current(connection)


def check(engine: Engine) -> None:
    """Raise Conflict, with what to do, unless the database has exactly the revision that this release works with."""
    found = current(engine)
    where = engine.url.render_as_string(hide_password=True)
    if found is None:
        raise Conflict(f"the database {where} has no tables of rqflow yet", hint="Run `rqflow db upgrade`.")
    _refuse_newer(found, where)
    if found != head():
        raise Conflict(f"the database {where} is of revision {found}, this release needs {head()}", hint="Run `rqflow db upgrade`.")


def upgrade(engine: Engine) -> list[str]:
    """Bring the database to the newest revision; return the revisions applied, none when it had it already.

    Two at the same time are safe: the second waits and finds nothing to do. Raises Conflict for a database of a newer release.
    """
    if current(engine) == head():
        return []
    own = open_engine(engine.url.render_as_string(hide_password=False), upgrading=True) if _is_shared(engine) else engine
    try:
        return run_in_transaction(own, _upgrade)
    finally:
        if own is not engine:
            own.dispose()


def reset(engine: Engine) -> None:
    """Drop all tables of rqflow with everything in them, and make them anew."""
    run_in_transaction(engine, _drop)
    upgrade(engine)


def refuse_newer(engine: Engine) -> None:
    """Raise Conflict when the database is one of a newer release; StoreError when it does not answer."""
    if (found := current(engine)) is not None:
        _refuse_newer(found, engine.url.render_as_string(hide_password=True))


def empty(engine: Engine, revision: str) -> None:
    """Drop all tables of rqflow with everything in them, and make them as they were at `revision`, without a row.

    Raises Conflict for a database of a newer release.
    """
    refuse_newer(engine)

    def make(connection: Connection) -> None:
        _drop(connection)
        with _lock(connection):
            migrate(connection, revision)

    run_in_transaction(engine, make)


def _is_shared(engine: Engine) -> bool:
    """Tell whether a second engine would see the same database; one in memory it would not."""
    return engine.url.database not in {None, "", ":memory:"}


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()  # noqa: S608 - a constant
    return str(found) if found else None


def _refuse_newer(found: str, where: str) -> None:
    if found not in revisions():
        raise Conflict(
            f"the database {where} was upgraded by a newer release of rqflow (revision {found}; this one knows up to {head()})",
            hint="Install that release here too; a database is never downgraded.",
        )


def _upgrade(connection: Connection) -> list[str]:
    with _lock(connection):
        found = _current(connection)
        if found is not None:
            _refuse_newer(found, connection.engine.url.render_as_string(hide_password=True))
        missing = [revision for revision in revisions() if found is None or revision > found]
        if missing:
            if found is None and connection.dialect.name == "sqlite":
                _create(connection)
            else:
                migrate(connection)
            logger.info("database upgraded to revision %s", head(), extra=logs.context("database_upgraded", revision=head()))
        return missing


def _create(connection: Connection) -> None:
    """Make all tables as they are now. That is quicker than to go through all steps, and someone waits for it: the first `submit` of a new home.

    For SQLite alone, where it happens as a whole or not at all.
    """
    metadata.create_all(connection)
    key = f"CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num)"
    connection.exec_driver_sql(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL, {key})")
    connection.exec_driver_sql(f"INSERT INTO {VERSION_TABLE} VALUES (?)", (head(),))  # noqa: S608 - a constant


def migrate(connection: Connection, upto: str = "head") -> None:
    """Apply the steps that the database lacks, oldest first, the last is `upto`; the caller keeps others out."""
    # Here: takes a fifth of a second to import, which only an upgrade should pay.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("version_locations", str(MIGRATIONS / "versions").replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    command.upgrade(config, upto)


@contextmanager
def _lock(connection: Connection) -> Iterator[None]:
    """Keep other upgrades of this database out until the end of the transaction; on MySQL, which commits at each DDL, of the block."""
    name = "rqflow upgrade " + hashlib.sha256(str(connection.engine.url.database).encode()).hexdigest()[:16]
    if connection.dialect.name == "mysql":
        if connection.exec_driver_sql("SELECT GET_LOCK(%s, %s)", (name, UPGRADE_SECONDS)).scalar() != 1:
            raise StoreError("another upgrade of the database does not end", hint="Look for a hanging `rqflow db upgrade`.")
        try:
            yield
            # The next one must see the new revision.
            connection.exec_driver_sql("COMMIT")
        finally:
            connection.exec_driver_sql("SELECT RELEASE_LOCK(%s)", (name,))
        return
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{UPGRADE_SECONDS}s'")
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))
    # SQLite has its write lock from BEGIN IMMEDIATE on.
    yield


def _drop(connection: Connection) -> None:
    with _lock(connection):
        metadata.drop_all(connection)
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {VERSION_TABLE}")
