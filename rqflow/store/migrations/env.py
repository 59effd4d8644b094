"""What alembic runs: the steps, on the connection that store/schema.py hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from rqflow.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True, compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
