"""Keep signatures of versions, what waits for one, and which workers ask for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rqflow.store.conventions import OPTIONS
from rqflow.store.types import Id, LongText, UtcDateTime

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the table and the columns."""
    op.add_column("dag", sa.Column("unsigned", Id(64), nullable=True))
    op.add_column("worker", sa.Column("verifies", sa.Boolean(), nullable=True))
    op.create_table(
        "dag_signature",
        sa.Column("version", Id(64), nullable=False),
        sa.Column("digest", Id(64), nullable=False),
        sa.Column("signature", LongText(), nullable=False),
        sa.Column("signed_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["version"], ["dag_version.version"], name=op.f("fk_dag_signature_version"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("version", "digest", name=op.f("pk_dag_signature")),
        **OPTIONS,
    )
