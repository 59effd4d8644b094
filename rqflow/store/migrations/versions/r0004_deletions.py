"""Remember what was deleted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rqflow.store.conventions import OPTIONS
from rqflow.store.types import Id, UtcDateTime

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table of tombstones."""
    op.create_table(
        "deletion",
        sa.Column("kind", Id(32), nullable=False),
        sa.Column("name", Id(), nullable=False),
        sa.Column("dag_id", Id(), nullable=False),
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("run_type", Id(32), nullable=True),
        sa.Column("logical_date", UtcDateTime(), nullable=True),
        sa.Column("keeps_logs", sa.Boolean(), nullable=False),
        sa.Column("state", Id(32), nullable=False),
        sa.Column("who", Id(), nullable=False),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_deletion")),
        **OPTIONS,
    )
    op.create_index(op.f("ix_deletion_state_asked_at"), "deletion", ["state", "asked_at"])
