"""Remember the epochs of Redis."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rqflow.store.conventions import OPTIONS
from rqflow.store.types import Id, UtcDateTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table of epochs."""
    op.create_table(
        "epoch",
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("run_id", Id(), nullable=False),
        sa.Column("reason", sa.String(1000), nullable=False),
        sa.Column("began_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_epoch")),
        **OPTIONS,
    )
