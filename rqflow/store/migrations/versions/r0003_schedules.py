"""Remember how far the schedule of each DAG was followed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rqflow.store.types import LongText, UtcDateTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns to the table of DAGs."""
    op.add_column("dag", sa.Column("series", LongText(), nullable=True))
    for name in ("series_start", "settled_upto", "next_run_at"):
        op.add_column("dag", sa.Column(name, UtcDateTime(), nullable=True))
    op.create_index(op.f("ix_dag_next_run_at"), "dag", ["next_run_at"])
