"""The reference page of the database, made from store/tables.py; scripts/docs writes it."""

from __future__ import annotations

from sqlalchemy import Column, Table

from rqflow.store.tables import metadata
from rqflow.store.types import Id, JsonText, LongText, UtcDateTime

HEAD = """\
# The database

The history: what was submitted, what ran, how it ended. Live state is in Redis; the recorder writes what happens there into these
tables, and unfinished runs are read from Redis. SQLite, MariaDB, MySQL and PostgreSQL hold the same tables. Times are UTC with
microseconds. Names (ids) are compared byte by byte: `A` and `a` are two DAGs, and so are `a` and `a ` with a space.

`rqflow db upgrade` makes the tables, and brings those of an older release up to date; with the SQLite file of the embedded default
this happens by itself. Read them as you like; write to them only through rqflow.

This page is made from `rqflow/store/tables.py`; a test compares them.
"""
KINDS = {Id: "name", UtcDateTime: "time", LongText: "text", JsonText: "JSON"}


def kind(column: Column) -> str:
    """The type of a column in a word."""
    named = KINDS.get(type(column.type)) or {"String": "text", "Integer": "integer", "BigInteger": "integer", "Double": "number",
                                             "Boolean": "true or false"}[type(column.type).__name__]
    return f"{named} or NULL" if column.nullable else named


def section(table: Table) -> str:
    """A table with its columns."""
    keys = ", ".join(f"`{column.name}`" for column in table.primary_key.columns)
    lines = [f"## {table.name}", "", f"{table.info['doc']} Written by: {table.info['writer']}. Key: {keys}.", "", "| column | type | holds |", "|---|---|---|"]
    return "\n".join(lines + [f"| `{column.name}` | {kind(column)} | {column.doc} |" for column in table.columns])


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, "\n\n".join(section(table) for table in metadata.tables.values()), ""])
