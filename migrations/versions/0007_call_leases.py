"""Leases of calls.

Why: two runs that wanted the same call at the same time both ran it. Here each says what it is running.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "call_lease",
        sa.Column("call_key", sa.String(64), primary_key=True),
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("execution_id", sa.String(32), nullable=False),
        sa.Column("process", sa.String(), nullable=False),
        sa.Column("task_hash", sa.String(64), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("call_lease")
