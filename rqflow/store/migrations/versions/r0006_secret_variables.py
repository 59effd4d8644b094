"""Remember which Variables are never shown in lists."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column to the table of Variables."""
    op.add_column("variable", sa.Column("is_secret", sa.Boolean(), nullable=True))
