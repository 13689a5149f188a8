"""Code that runs: own classes of arguments, what bodies reached, and the code beside a version.

Why: a rerun after an edit is right only if all that a result depends on is known with it. An evaluation's
row also vouches for its own pair from here on.
"""

# ruff: noqa: S608 -- the names in the statements are written here

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_ADDED = (("task", "code_hash"), ("job", "classes_hash"), ("job", "trace_hash"))
_EVALUATION = "eval_hash, value_hash"


def upgrade() -> None:
    for table, column in _ADDED:
        op.add_column(table, sa.Column(column, sa.String(64), nullable=True))
    _remake_evaluations(
        (
            sa.Column("eval_hash", sa.String(64), nullable=False),
            sa.Column("trace_hash", sa.String(64), nullable=False),
            sa.Column("value_hash", sa.String(64), nullable=False),
            sa.Column("checksum", sa.String(16), nullable=True),
            sa.PrimaryKeyConstraint("eval_hash", "trace_hash"),
        ),
        f"{_EVALUATION}, trace_hash",
        f"SELECT {_EVALUATION}, '' FROM old_evaluation",
    )


def downgrade() -> None:
    """Results that hold only for code that a body reached are forgotten, and computed again."""
    _remake_evaluations(
        (
            sa.Column("eval_hash", sa.String(64), nullable=False),
            sa.Column("value_hash", sa.String(64), nullable=False),
            sa.PrimaryKeyConstraint("eval_hash"),
        ),
        _EVALUATION,
        f"SELECT {_EVALUATION} FROM old_evaluation WHERE trace_hash = ''",
    )
    for table, column in _ADDED:
        op.drop_column(table, column)


def _remake_evaluations(columns: tuple[sa.schema.SchemaItem, ...], names: str, select: str) -> None:
    op.rename_table("evaluation", "old_evaluation")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER INDEX evaluation_pkey RENAME TO old_evaluation_pkey")
    op.create_table("evaluation", *columns, sqlite_with_rowid=False)
    op.execute(f"INSERT INTO evaluation ({names}) {select}")
    op.drop_table("old_evaluation")
