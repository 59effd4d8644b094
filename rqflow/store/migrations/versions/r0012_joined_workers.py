"""Keep the workers that joined, with their keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rqflow.store.conventions import OPTIONS
from rqflow.store.types import Id, LongText, UtcDateTime

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "joined_worker",
        sa.Column("name", Id(), nullable=False),
        sa.Column("public_key", Id(64), nullable=False),
        sa.Column("ssh_key", LongText(), nullable=False),
        sa.Column("who", Id(), nullable=False),
        sa.Column("joined_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_joined_worker")),
        **OPTIONS,
    )
