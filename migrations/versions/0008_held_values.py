"""Which values were put by hand, and when.

Why: what a collection may delete has to be told from what somebody keeps. Of values from before it is not
known when they were put; those that nothing points to are taken to be put by hand, now.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_NOW = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
}
_POINTED = " UNION ALL ".join(
    f"SELECT {column} FROM {table}"  # noqa: S608  # constants below
    for table, column in (
        ("evaluation", "value_hash"),
        ("call_node", "value_hash"),
        ("argument", "value_hash"),
        ("subvalue", "child_hash"),
        ("handle", "value_hash"),
        ("set_member", "member_hash"),
    )
)


def upgrade() -> None:
    op.create_table(
        "held",
        sa.Column("value_hash", sa.String(64), primary_key=True),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
    now = _NOW[op.get_context().dialect.name]
    op.execute(
        f"INSERT INTO held (value_hash, since) SELECT v.value_hash, {now} FROM "  # noqa: S608  # constants
        f"(SELECT value_hash FROM value EXCEPT SELECT p.value_hash FROM ({_POINTED}) AS p) AS v"
    )


def downgrade() -> None:
    op.drop_table("held")
