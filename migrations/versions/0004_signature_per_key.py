"""A signature per key: which keys vouch for a value, beside its bytes.

Why: one signature inside the bytes made colleagues with keys of their own replace each other's, and compute
each other's values anew for ever. Values stored before hold theirs inside, and are read as they were.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "signature",
        sa.Column("value_hash", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.Column("payload_digest", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("inline", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("value_hash", "key_id"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Values whose signature was beside them are forgotten, and computed again."""
    op.execute(
        "DELETE FROM value WHERE codec = 'signed' AND value_hash IN (SELECT value_hash FROM signature)"
    )
    op.drop_table("signature")
