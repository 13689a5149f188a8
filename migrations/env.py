"""Alembic's way in. The connection comes from ``valuestore.db.schema.migrate``; there is no alembic.ini."""

from __future__ import annotations

from alembic import context

from valuestore.db.schema.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
)
context.run_migrations()
