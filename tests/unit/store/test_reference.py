from __future__ import annotations

import pytest
from sqlalchemy import Column

from rqflow.store.tables import metadata

COLUMNS = [column for table in metadata.tables.values() for column in table.columns]


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_each_column_says_what_it_holds(column: Column) -> None:
    assert column.doc
    assert column.doc.endswith((".", "…"))


def test_each_table_says_who_writes_it() -> None:
    assert all(table.info["writer"] and table.info["doc"].endswith(".") for table in metadata.tables.values())


def test_keys_fit_into_3072_bytes() -> None:
    """What MariaDB allows; a character has up to four bytes."""
    for table in metadata.tables.values():
        for columns in (table.primary_key.columns, *(index.columns for index in table.indexes)):
            assert sum(4 * (getattr(column.type, "length", None) or 2) for column in columns) <= 3072, (table.name, list(columns))
