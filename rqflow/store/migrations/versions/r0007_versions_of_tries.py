"""Remember which version a task instance follows, and of which a try was, where that is not the run's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rqflow.store.conventions import SHA
from rqflow.store.types import Id

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the columns."""
    for table in ("task_instance", "task_try"):
        op.add_column(table, sa.Column("version", Id(SHA), nullable=True))
