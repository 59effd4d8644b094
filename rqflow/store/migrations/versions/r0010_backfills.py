"""Keep backfills, and what a run of one differs in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rqflow.store.conventions import OPTIONS
from rqflow.store.types import Id, JsonText, UtcDateTime

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the table, and the columns to the one of runs."""
    op.create_table(
        "backfill",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dag_id", Id(), nullable=False),
        sa.Column("version", Id(64), nullable=False),
        sa.Column("series_start", UtcDateTime(), nullable=False),
        sa.Column("from_date", UtcDateTime(), nullable=False),
        sa.Column("to_date", UtcDateTime(), nullable=False),
        sa.Column("newest_first", sa.Boolean(), nullable=False),
        sa.Column("rerun", Id(32), nullable=False),
        sa.Column("max_active", sa.Integer(), nullable=False),
        sa.Column("marks", sa.Boolean(), nullable=False),
        sa.Column("ignores_first_past", sa.Boolean(), nullable=False),
        sa.Column("options", JsonText(), nullable=False),
        sa.Column("conf", JsonText(), nullable=False),
        sa.Column("state", Id(32), nullable=False),
        sa.Column("reason", sa.String(1000), nullable=False),
        sa.Column("upto", UtcDateTime(), nullable=True),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("is_counted", sa.Boolean(), nullable=False),
        sa.Column("made", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("succeeded", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("who", Id(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backfill")),
        **OPTIONS,
    )
    op.create_index(op.f("ix_backfill_dag_id_created_at"), "backfill", ["dag_id", "created_at"])
    op.create_index(op.f("ix_backfill_state"), "backfill", ["state"])
    op.add_column("dag_run", sa.Column("options", JsonText(), nullable=True))
    op.add_column("dag_run", sa.Column("backfill_id", sa.Integer(), nullable=True))
    op.add_column("dag_run", sa.Column("rerun_after", sa.BigInteger(), nullable=True))
    op.create_index(op.f("ix_dag_run_backfill_id_state"), "dag_run", ["backfill_id", "state"])
