"""Remember the files of the folder of DAGs, and where each DAG comes from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rqflow.store.conventions import OPTIONS, SHA
from rqflow.store.types import Id, JsonText, LongText, UtcDateTime

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the table, and add the columns to that of DAGs."""
    op.create_table(
        "dag_file",
        sa.Column("file_key", Id(SHA), nullable=False),
        sa.Column("path", LongText(), nullable=False),
        sa.Column("is_present", sa.Boolean(), nullable=False),
        sa.Column("dag_ids", JsonText(), nullable=False),
        sa.Column("errors", JsonText(), nullable=False),
        sa.Column("inputs", JsonText(), nullable=False),
        sa.Column("loaded_by", Id(), nullable=False),
        sa.Column("loaded_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("file_key", name=op.f("pk_dag_file")),
        **OPTIONS,
    )
    op.add_column("dag", sa.Column("pause_reason", LongText(), nullable=True))
    op.add_column("dag", sa.Column("file_key", Id(SHA), nullable=True))
    op.add_column("dag", sa.Column("inputs", Id(SHA), nullable=True))
