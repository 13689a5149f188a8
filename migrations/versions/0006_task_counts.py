"""Counts of jobs by task and status, and an index of the slow ones.

Why: both were answered by reading every job. The jobs that there are get counted here; from then on the
recorder does.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_SECONDS = "(ended - started) / 1000000.0"


def upgrade() -> None:
    op.create_table(
        "task_count",
        sa.Column("task_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False),
        sa.Column("status", sa.String(16)),
        sa.Column("lane", sa.Integer(), autoincrement=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.Column("micros", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("task_no", "status", "lane"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO task_count SELECT task_no, status, 0, count(*), sum(ended - started) FROM job "
        "GROUP BY task_no, status"
    )
    where = sa.text(f"{_SECONDS} >= 0.01")
    op.create_index("job_slow", "job", [sa.text(f"({_SECONDS})")], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_index("job_slow", "job")
    op.drop_table("task_count")
