"""Keep the calls of authors' functions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rqflow.store.conventions import OPTIONS
from rqflow.store.types import Id, LongText, UtcDateTime

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the table; note of each version which kinds it has."""
    op.add_column("dag_version", sa.Column("callbacks", Id(), nullable=True))
    op.create_table(
        "callback",
        sa.Column("callback_id", Id(16), nullable=False),
        sa.Column("kind", Id(32), nullable=False),
        sa.Column("dag_id", Id(), nullable=False),
        sa.Column("run_key", Id(16), nullable=False),
        sa.Column("task_id", Id(), nullable=False),
        sa.Column("try_number", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("version", Id(64), nullable=True),
        sa.Column("detail", LongText(), nullable=False),
        sa.Column("state", Id(32), nullable=False),
        sa.Column("worker", Id(), nullable=False),
        sa.Column("sends", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(1000), nullable=False),
        sa.Column("output", LongText(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("callback_id", name=op.f("pk_callback")),
        **OPTIONS,
    )
    op.create_index(op.f("ix_callback_state_seq"), "callback", ["state", "seq"])
    op.create_index(op.f("ix_callback_run_key_task_id"), "callback", ["run_key", "task_id"])
