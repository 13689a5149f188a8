"""The catalog: names, their versions, and the attributes that they are found by.

Why: mutable names over immutable content, with attributes that change without a byte moved.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_digest, _id = sa.String(64), sa.String(32)
_path = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_BOUND = sa.text("value_hash IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "entry",
        sa.Column("entry_id", _digest, primary_key=True),
        sa.Column("name", _path, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.BigInteger()),
        sqlite_with_rowid=False,
    )
    op.create_index("entry_by_name", "entry", ["name"], unique=True)
    op.create_table(
        "entry_version",
        sa.Column("entry_id", _digest, primary_key=True),
        sa.Column("version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("payload_digest", _digest, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("value_hash", _digest),
        sa.Column("attrs", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("modified", sa.BigInteger(), nullable=False),
        sa.Column("execution_id", _id),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "entry_version_by_value",
        "entry_version",
        ["value_hash"],
        sqlite_where=_BOUND,
        postgresql_where=_BOUND,
    )
    op.create_table(
        "entry_attribute",
        sa.Column("probe", _id, primary_key=True),
        sa.Column("name", _path, primary_key=True),
        sa.Column("key", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    for table in ("entry_attribute", "entry_version", "entry"):
        op.drop_table(table)
