"""Keep people, how they are logged in, and whose DAGs and runs are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rqflow.store.conventions import OPTIONS
from rqflow.store.types import Id, LongText, UtcDateTime

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the tables and the columns; table user, which nothing has written to, is made anew."""
    op.add_column("dag", sa.Column("submitted_by", Id(), nullable=True))
    op.create_index(op.f("ix_dag_submitted_by"), "dag", ["submitted_by"])
    op.add_column("dag_run", sa.Column("started_by", Id(), nullable=True))
    op.drop_table("user")
    op.create_table(
        "user",
        sa.Column("username", Id(), nullable=False),
        sa.Column("full_name", LongText(), nullable=False),
        sa.Column("password_hash", LongText(), nullable=False),
        sa.Column("role", Id(32), nullable=False),
        sa.Column("email", LongText(), nullable=False),
        sa.Column("source", Id(32), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("last_login_at", UtcDateTime(), nullable=True),
        sa.Column("disabled_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("username", name=op.f("pk_user")),
        **OPTIONS,
    )
    op.create_table(
        "session",
        sa.Column("digest", Id(64), nullable=False),
        sa.Column("username", Id(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("ip", Id(), nullable=False),
        sa.Column("agent", LongText(), nullable=False),
        sa.ForeignKeyConstraint(["username"], ["user.username"], name=op.f("fk_session_username"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_session")),
        **OPTIONS,
    )
    op.create_index(op.f("ix_session_expires_at"), "session", ["expires_at"])
    op.create_index(op.f("ix_session_username"), "session", ["username"])
    op.create_table(
        "api_token",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", Id(64), nullable=False),
        sa.Column("username", Id(), nullable=False),
        sa.Column("name", Id(), nullable=False),
        sa.Column("role", Id(32), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("last_used_at", UtcDateTime(), nullable=True),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["username"], ["user.username"], name=op.f("fk_api_token_username"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_token")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_token_digest")),
        **OPTIONS,
    )
    op.create_index(op.f("ix_api_token_username"), "api_token", ["username"])
    op.create_table(
        "setup_link",
        sa.Column("digest", Id(64), nullable=False),
        sa.Column("username", Id(), nullable=True),
        sa.Column("role", Id(32), nullable=False),
        sa.Column("who", Id(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("used_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_setup_link")),
        **OPTIONS,
    )
    op.create_index(op.f("ix_setup_link_expires_at"), "setup_link", ["expires_at"])
    op.create_table(
        "dag_share",
        sa.Column("dag_id", Id(), nullable=False),
        sa.Column("username", Id(), nullable=False),
        sa.Column("who", Id(), nullable=False),
        sa.Column("shared_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("dag_id", "username", name=op.f("pk_dag_share")),
        **OPTIONS,
    )
    op.create_index(op.f("ix_dag_share_username"), "dag_share", ["username"])
    op.create_table(
        "owner_map",
        sa.Column("owner", Id(), nullable=False),
        sa.Column("username", Id(), nullable=False),
        sa.Column("who", Id(), nullable=False),
        sa.Column("mapped_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "username", name=op.f("pk_owner_map")),
        **OPTIONS,
    )
    op.create_index(op.f("ix_owner_map_username"), "owner_map", ["username"])
