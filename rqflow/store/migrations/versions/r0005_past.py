"""Remember which runs wait for nothing of the run before them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column to the table of runs."""
    op.add_column("dag_run", sa.Column("ignores_past", sa.Boolean(), nullable=True))
