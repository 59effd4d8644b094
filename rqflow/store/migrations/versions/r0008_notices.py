"""Tell people: notices, who gets them, and the outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rqflow.store.conventions import OPTIONS
from rqflow.store.types import Id, LongText, UtcDateTime

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create the three tables; note of each version who wants to hear of it."""
    op.add_column("dag_version", sa.Column("tells_success", sa.Boolean(), nullable=True))
    op.add_column("dag_version", sa.Column("has_sla", sa.Boolean(), nullable=True))
    op.create_index(op.f("ix_dag_version_has_sla"), "dag_version", ["has_sla"])
    op.create_table(
        "notice",
        sa.Column("notice_key", Id(16), nullable=False), sa.Column("kind", Id(32), nullable=False), sa.Column("dag_id", Id(), nullable=False),
        sa.Column("run_key", Id(16), nullable=False), sa.Column("task_id", Id(), nullable=False),
        sa.Column("try_number", sa.Integer(), nullable=False), sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.String(1000), nullable=False),
        sa.Column("is_sorted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("notice_key", name=op.f("pk_notice")), **OPTIONS,
    )
    op.create_index(op.f("ix_notice_is_sorted_seq"), "notice", ["is_sorted", "seq"])
    op.create_index(op.f("ix_notice_run_key_task_id"), "notice", ["run_key", "task_id"])
    op.create_table(
        "notice_delivery",
        sa.Column("notice_key", Id(16), nullable=False), sa.Column("recipient", Id(), nullable=False), sa.Column("dag_id", Id(), nullable=False),
        sa.Column("run_key", Id(16), nullable=False), sa.Column("kind", Id(32), nullable=False), sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("noted_at", UtcDateTime(), nullable=False), sa.Column("wait_until", UtcDateTime(), nullable=False),
        sa.Column("is_held", sa.Boolean(), nullable=False), sa.Column("message_id", Id(16), nullable=False),
        sa.PrimaryKeyConstraint("notice_key", "recipient", name=op.f("pk_notice_delivery")), **OPTIONS,
    )
    op.create_index(op.f("ix_notice_delivery_message_id_wait_until"), "notice_delivery", ["message_id", "wait_until"])
    op.create_index(op.f("ix_notice_delivery_run_key"), "notice_delivery", ["run_key"])
    op.create_table(
        "notice_message",
        sa.Column("message_id", Id(16), nullable=False), sa.Column("recipient", Id(), nullable=False), sa.Column("dag_id", Id(), nullable=False),
        sa.Column("run_key", Id(16), nullable=False), sa.Column("kind", Id(32), nullable=False), sa.Column("notices", sa.Integer(), nullable=False),
        sa.Column("is_digest", sa.Boolean(), nullable=False), sa.Column("state", Id(32), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False), sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("error", LongText(), nullable=False), sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_notice_message")), **OPTIONS,
    )
    op.create_index(op.f("ix_notice_message_state_due_at"), "notice_message", ["state", "due_at"])
    op.create_index(op.f("ix_notice_message_dag_id_recipient_created_at"), "notice_message", ["dag_id", "recipient", "created_at"])
    op.create_index(op.f("ix_notice_message_created_at"), "notice_message", ["created_at"])
