"""What the databases say when something is wrong, sorted into few kinds, and the error for people that each kind becomes."""

from __future__ import annotations

import shutil
import sqlite3
from enum import Enum
from pathlib import Path

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from rqflow.exceptions import Conflict, RqflowError, StoreError


class Fault(Enum):
    """What a database error means for the caller."""

    #: Deadlock, lock wait, SQLITE_BUSY: the same transaction may do well in a moment.
    BUSY = "busy"
    #: The link broke while it was in use: the same transaction may do well on a new one.
    LOST = "lost"
    #: Nobody answers, or not now.
    DOWN = "down"
    #: Wrong user or password, or no right to this database.
    REFUSED = "refused"
    #: The server has no such database; the file cannot be opened.
    NO_DATABASE = "no database"
    #: A table or column is missing: the schema is older than the code.
    NO_TABLE = "no table"
    #: No room, or the disk fails, or the file is read-only.
    DISK = "disk"
    #: A value is too large for the server's max_allowed_packet.
    TOO_LARGE = "too large"
    #: Anything else; mostly a bug.
    OTHER = "other"


_MYSQL = {
    1205: Fault.BUSY, 1213: Fault.BUSY, 1020: Fault.BUSY, 3572: Fault.BUSY,
    2006: Fault.LOST, 2013: Fault.LOST, 2014: Fault.LOST, 2055: Fault.LOST, 1927: Fault.LOST, 1053: Fault.LOST, 4031: Fault.LOST, 0: Fault.LOST,
    2002: Fault.DOWN, 2003: Fault.DOWN, 2005: Fault.DOWN, 1040: Fault.DOWN, 1203: Fault.DOWN, 1129: Fault.DOWN,
    1044: Fault.REFUSED, 1045: Fault.REFUSED, 1130: Fault.REFUSED, 1142: Fault.REFUSED, 1698: Fault.REFUSED, 1227: Fault.REFUSED,
    1049: Fault.NO_DATABASE, 1146: Fault.NO_TABLE, 1054: Fault.NO_TABLE,
    1114: Fault.DISK, 1021: Fault.DISK, 1030: Fault.DISK, 1290: Fault.DISK, 1836: Fault.DISK, 1153: Fault.TOO_LARGE,
}
#: SQLSTATE of PostgreSQL, by its beginning.
_POSTGRESQL = {
    "40001": Fault.BUSY, "40P01": Fault.BUSY, "55P03": Fault.BUSY, "57P": Fault.LOST, "08": Fault.LOST, "25P03": Fault.LOST,
    "53300": Fault.DOWN, "28": Fault.REFUSED, "42501": Fault.REFUSED, "3D000": Fault.NO_DATABASE,
    "42P01": Fault.NO_TABLE, "42703": Fault.NO_TABLE, "53100": Fault.DISK, "58": Fault.DISK, "25006": Fault.DISK,
}
#: Primary result codes of SQLite.
_SQLITE = {
    sqlite3.SQLITE_BUSY: Fault.BUSY, sqlite3.SQLITE_LOCKED: Fault.BUSY, sqlite3.SQLITE_CANTOPEN: Fault.NO_DATABASE,
    sqlite3.SQLITE_NOTADB: Fault.NO_DATABASE, sqlite3.SQLITE_FULL: Fault.DISK, sqlite3.SQLITE_IOERR: Fault.DISK,
    sqlite3.SQLITE_READONLY: Fault.DISK, sqlite3.SQLITE_PERM: Fault.REFUSED, sqlite3.SQLITE_CORRUPT: Fault.DISK,
    sqlite3.SQLITE_TOOBIG: Fault.TOO_LARGE,
}

#: Bytes by which SQLite's file of shared memory grows.
_SHARED_MEMORY = 32 << 10

_HINTS = {
    Fault.BUSY: "It is busy with other work; try again.",
    Fault.LOST: "Is the server up, and does the link to it hold? `rqflow db check` tries it.",
    Fault.DOWN: "Is the server up, and are host and port in database.url right?",
    Fault.REFUSED: "Check user, password and grants of database.url (RQFLOW__DATABASE__URL).",
    Fault.NO_DATABASE: "Create it, or correct database.url (RQFLOW__DATABASE__URL).",
    Fault.DISK: "Make room, or mend the disk of the database.",
    Fault.TOO_LARGE: "Raise max_allowed_packet on the server (64M is plenty).",
}


def fault_of(error: BaseException) -> Fault:
    """Return what `error`, raised by SQLAlchemy, means."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return Fault.OTHER
    origin = error.orig
    if isinstance(origin, sqlite3.Error):
        return _of_sqlite(origin)
    fault = _of_number(origin) or _of_sqlstate(origin)
    if fault:
        return fault
    if error.connection_invalidated:
        return Fault.LOST
    if isinstance(error, OperationalError | InterfaceError):
        return _of_text(str(origin), Fault.DOWN if isinstance(error, OperationalError) else Fault.OTHER)
    return Fault.OTHER


def explain(error: DBAPIError, url: URL) -> RqflowError | None:
    """Return the error for people that `error` of the database `url` becomes; None when it is a bug and should stay as it is."""
    fault = fault_of(error)
    if fault is Fault.OTHER:
        return None
    where = url.render_as_string(hide_password=True)
    said = " ".join(str(error.orig).split())
    if fault is Fault.DISK and _is_full(error, url):
        said += "; its disk is full"
    if fault is Fault.TOO_LARGE:
        return RqflowError(f"the database {where} refuses a value for its size: {said}", hint=_HINTS[fault])
    if fault is Fault.NO_TABLE:
        return Conflict(f"the database {where} lacks a table or column of this release: {said}", hint="Run `rqflow db upgrade`.")
    return StoreError(f"the database {where} cannot be used: {said}", hint=_HINTS[fault])


def _is_full(error: DBAPIError, url: URL) -> bool:
    """Tell whether an I/O error of SQLite is for want of room: so it calls it when there is none for its shared memory, of 32 KiB at least."""
    code = getattr(error.orig, "sqlite_errorcode", 0)
    if code & 0xFF != sqlite3.SQLITE_IOERR or not url.database:
        return False
    try:
        return shutil.disk_usage(Path(url.database).parent).free < _SHARED_MEMORY
    except OSError:
        return False


def _of_sqlite(origin: sqlite3.Error) -> Fault:
    code = getattr(origin, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_ERROR and str(origin).startswith(("no such table", "no such column")):
        return Fault.NO_TABLE
    return Fault.OTHER if code is None else _SQLITE.get(code & 0xFF, Fault.OTHER)


def _of_sqlstate(origin: BaseException) -> Fault | None:
    state = getattr(origin, "sqlstate", None)
    if not isinstance(state, str):
        return None
    return next((fault for prefix, fault in _POSTGRESQL.items() if state.startswith(prefix)), Fault.OTHER)


def _of_number(origin: BaseException) -> Fault | None:
    number = origin.args[0] if origin.args else None
    return _MYSQL.get(number, Fault.OTHER) if isinstance(number, int) else None


def _of_text(text: str, unknown: Fault) -> Fault:
    """Sort an error without a number: psycopg gives none when it could not connect or lost the link."""
    signs = {
        "authentication failed": Fault.REFUSED, "no pg_hba.conf entry": Fault.REFUSED, "no password supplied": Fault.REFUSED,
        'role "': Fault.REFUSED, "permission denied": Fault.REFUSED, 'database "': Fault.NO_DATABASE, "closed the connection": Fault.LOST,
        "connection is closed": Fault.LOST, "connection is lost": Fault.LOST, "consuming input failed": Fault.LOST,
    }
    return next((fault for sign, fault in signs.items() if sign in text), unknown)
