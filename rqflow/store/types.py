"""Column types that mean the same on SQLite, MariaDB, MySQL and PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, String, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

_COMPACT = json.JSONEncoder(separators=(",", ":"))
#: Characters that an id (dag_id, run_id, task_id, pool, queue …) may have.
ID_LENGTH = 250


class Id(TypeDecorator[str]):
    """A name that is compared and sorted byte by byte: `A` and `a` differ, and so do `a` and `a ` (MySQL pads by default)."""

    impl = String
    cache_ok = True

    def __init__(self, length: int = ID_LENGTH) -> None:
        """Hold at most `length` characters."""
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the collation; MariaDB and MySQL have different names for the one that does not pad."""
        if dialect.name == "mysql":
            collation = "utf8mb4_nopad_bin" if getattr(dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
            return dialect.type_descriptor(mysql.VARCHAR(self.length, charset="utf8mb4", collation=collation))
        if dialect.name == "postgresql":
            return dialect.type_descriptor(String(self.length, collation="C"))
        return dialect.type_descriptor(String(self.length))


class UtcDateTime(TypeDecorator[datetime]):
    """A moment with microseconds. Only aware values go in (ValueError otherwise); UTC comes out."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Ask MySQL for microseconds, which it drops by default, and PostgreSQL for a zone."""
        if dialect.name == "mysql":
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime(timezone=dialect.name == "postgresql"))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Bring `value` to UTC; MySQL and SQLite get it without the zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone: only aware times go into the database")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        """Write the text of SQLite at once: its dialect's own way takes ten times as long, and the recorder binds six moments a task."""
        return _as_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def result_processor(self, dialect: Dialect, coltype: Any) -> Callable[[Any], Any] | None:
        """Read the text of SQLite at once, for the same reason: a run of 10,000 tasks has 50,000 moments."""
        return _from_text if dialect.name == "sqlite" else super().result_processor(dialect, coltype)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the moment back, aware and in UTC."""
        if value is None:
            return None
        return value.astimezone(UTC) if dialect.name == "postgresql" else value.replace(tzinfo=UTC)


class LongText(TypeDecorator[str]):
    """Text of any length, without what a database refuses (`clean`); MySQL's TEXT ends at 64 KB, so it is LONGTEXT there."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose LONGTEXT on MySQL."""
        return dialect.type_descriptor(mysql.LONGTEXT() if dialect.name == "mysql" else Text())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - the signature is SQLAlchemy's
        """Clean the text."""
        return None if value is None else clean(value)


class JsonText(TypeDecorator[Any]):
    """A JSON value kept as text, so that the three databases store and return the same bytes. SQL NULL is None."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose LONGTEXT on MySQL."""
        return dialect.type_descriptor(mysql.LONGTEXT() if dialect.name == "mysql" else Text())

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002 - the signature is SQLAlchemy's
        """Write `value` as JSON in ASCII: PostgreSQL takes no NUL and no database a lone surrogate, but both survive escaped."""
        return None if value is None else _COMPACT.encode(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002 - the signature is SQLAlchemy's
        """Read the JSON back."""
        return None if value is None else json.loads(value)


def _as_text(value: datetime | None) -> str | None:
    """Return a moment as SQLite keeps it. Only aware values go in (ValueError otherwise)."""
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone: only aware times go into the database")
    moment = value if value.tzinfo is UTC else value.astimezone(UTC)
    return moment.isoformat(" ", "microseconds")[:-6]  # without +00:00


def _from_text(text: str | None) -> datetime | None:
    """Return the moment that SQLite keeps as text."""
    return None if text is None else datetime.fromisoformat(f"{text}+00:00")


def clean(text: str, limit: int | None = None) -> str:
    r"""Return `text` as every database takes it: no NUL, no lone surrogate (both become U+FFFD), at most `limit` characters."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    if not text.isascii():
        text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return text if limit is None else text[:limit]
