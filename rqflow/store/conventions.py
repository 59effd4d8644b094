"""What all tables of the history have in common: how they are made on each kind of database, how constraints are called, how long names may be."""

from __future__ import annotations

from typing import Any

from sqlalchemy import MetaData

#: For each table: transactions, every character, and room for keys of 3072 bytes on MariaDB and MySQL.
OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin", "mysql_row_format": "DYNAMIC",
}
#: Characters of a state, a sha256 in hex, a run key, a line of text.
STATE, SHA, KEY, LINE = 32, 64, 16, 1000

metadata = MetaData(naming_convention={
    "ix": "ix_%(table_name)s_%(column_0_N_name)s", "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s",
})


def about(text: str, writer: str) -> dict[str, str]:
    """Return what is kept with a table: what it holds, and who writes it."""
    return {"doc": text, "writer": writer}
