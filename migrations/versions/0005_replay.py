"""Replay: how many calls a finished call, a job and an execution stand for.

Why: an unchanged call that made others is answered by one lookup and recorded as one job, which says so.
Calls that were recorded before have no checksum, and are walked once more.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_NUMBERS = (
    ("call_node", "calls"),
    ("call_node", "finished"),
    ("job", "calls"),
    ("execution", "replayed"),
)


def upgrade() -> None:
    for table, column in _NUMBERS:
        op.add_column(table, sa.Column(column, sa.BigInteger(), nullable=True))
    op.add_column("call_node", sa.Column("checksum", sa.String(16), nullable=True))
    op.drop_index("call_node_by_args", "call_node")
    op.create_index("call_node_by_args", "call_node", ["args_hash", "task_no"])


def downgrade() -> None:
    op.drop_index("call_node_by_args", "call_node")
    op.create_index("call_node_by_args", "call_node", ["args_hash"])
    op.drop_column("call_node", "checksum")
    for table, column in _NUMBERS:
        op.drop_column(table, column)
